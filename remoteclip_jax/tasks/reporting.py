"""`report.md` and `report.html`: what a run was, how it went, and what to do next; made from the run's own files."""

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.metrics_log import read_rows
from remoteclip_jax.tasks.configuration import load_config
from remoteclip_jax.tasks.registry import find_task


def write_report(run: RunDirectory) -> None:
    """Write both reports of `run`; the HTML file holds its pictures and needs no other file. UserError where a file of
    the run is damaged."""
    config, rows = load_config(run.config), read_rows(run.metrics)
    if not rows:
        raise UserError(f"{run.metrics} has no row: nothing to report")
    from remoteclip_jax.evaluation.page import write_page  # plots and HTML are loaded when a report is written

    write_page(run, find_task(config.task).report(run, config, rows))
