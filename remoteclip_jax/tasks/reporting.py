"""`report.md` and `report.html`: what a run was, how it went, and what to do next. Made from the run's files."""

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.metrics_log import read_rows
from remoteclip_jax.tasks.configuration import load_config
from remoteclip_jax.tasks.registry import find_report


def write_report(run: RunDirectory) -> None:
    """Write both reports of `run`. The HTML file contains its pictures, and needs no other file. UserError if a file of
    the run is damaged."""
    config, rows = load_config(run.config), read_rows(run.metrics)
    if not rows:
        raise UserError(f"{run.metrics} has no rows: there is nothing to report")
    from remoteclip_jax.evaluation.page import write_page  # Matplotlib and the HTML code are loaded only here

    write_page(run, find_report(config.task)(run, config, rows))
