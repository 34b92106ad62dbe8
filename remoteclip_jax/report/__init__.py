"""`report.md` and `report.html`: what a run was, how it went, and what to do next; made from the run's own files."""

from remoteclip_jax.errors import UserError
from remoteclip_jax.evaluation.page import write_page
from remoteclip_jax.report import align, detect
from remoteclip_jax.runs.config import load_config
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.metrics_log import read_rows

TASKS = {"align": align.report, "detect": detect.report}


def write_report(run: RunDirectory) -> None:
    """Write both reports of `run`; the HTML file holds its pictures and needs no other file. UserError where a file of
    the run is damaged."""
    config, rows = load_config(run.config), read_rows(run.metrics)
    if not rows:
        raise UserError(f"{run.metrics} has no row: nothing to report")
    write_page(run, TASKS[config.task](run, config, rows))
