"""Evaluation, as `eval.py` does it: a run or converted weights, on a split of the run's data or of other data."""

from pathlib import Path
from typing import Any

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.evaluation_data import EvalSettings
from remoteclip_jax.runs.metrics_log import read_rows
from remoteclip_jax.tasks.configuration import load_config
from remoteclip_jax.tasks.registry import DEFAULT_TASK, TASKS, find_task
from remoteclip_jax.tasks.reporting import write_report
from remoteclip_jax.training.task import Task

TASK_SPECIFIC = ("novel", "image_size", "max_detections")  # settings that not every task uses


def evaluate(workdir: Path, settings: EvalSettings) -> dict[str, Any]:
    """Evaluate, write `eval/SPLIT/metrics.json` into `workdir`, and return its content.

    `workdir` is a run, whose best checkpoint is used, or a directory of converted weights, which classify images.
    UserError for whatever a user can fix.
    """
    run, config, task = _open(workdir)
    for name in TASK_SPECIFIC:
        if name not in task.eval_settings and getattr(settings, name) != getattr(EvalSettings(), name):
            tasks = [other for other in TASKS if name in find_task(other).eval_settings]
            raise UserError(f"--{name} is for runs of --task={' or '.join(tasks)}; {workdir} is not one")
    result = task.evaluate(run, config, settings)
    if config and read_rows(run.metrics):  # a run that was interrupted in its first epoch has nothing to report yet
        write_report(run)
    return result


def describe(workdir: Path, result: dict[str, Any]) -> str:
    """The result of `evaluate` in words."""
    return _open(workdir)[2].describe(result)


def _open(workdir: Path) -> tuple[RunDirectory, TrainConfig | None, Task]:
    """The directory, its configuration (None for converted weights), and the task."""
    run = RunDirectory(workdir)
    config = load_config(run.config) if run.is_run() else None
    return run, config, find_task(config.task if config else DEFAULT_TASK)
