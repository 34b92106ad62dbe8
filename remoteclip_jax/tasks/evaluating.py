"""Evaluation, as `eval.py` does it: a run or converted weights, on a split of the run's data or of other data; and
stored embeddings."""

import dataclasses
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

# Settings that not every task uses.
TASK_SPECIFIC = (
    *("captions", "dataset_format", "classes", "text_embeddings", "templates"),
    *("novel", "image_size", "max_detections", "frozen_tower"),
)


def evaluate(workdir: Path, settings: EvalSettings) -> dict[str, Any]:
    """Evaluate, write `eval/SPLIT/metrics.json` into `workdir`, and return its content.

    `workdir` is a run, whose best checkpoint is used, or a directory of converted weights, which classify images unless
    the settings say otherwise. UserError for whatever a user can fix.
    """
    run, config, own = _open(workdir)
    task = _evaluating_task(settings.evaluation, own)
    if task is own:
        settings = dataclasses.replace(settings, evaluation=None)
    else:
        _check_embeds(workdir, config, own, task)
    _check_settings(settings, task, f"{workdir} is not one")
    result = task.evaluate(run, config, settings)
    if config and read_rows(run.metrics):  # a run that was interrupted in its first epoch has nothing to report yet
        write_report(run)
    return result


def evaluate_embeddings(path: Path, settings: EvalSettings) -> dict[str, Any]:
    """The figures of the embeddings in an npz file, by the evaluation of `settings`. UserError for whatever a user can
    fix."""
    task = _evaluating_task(settings.evaluation, find_task(DEFAULT_TASK))
    if task.evaluate_embeddings is None:
        raise UserError(f"--task={task.evaluation} needs images: give --workdir=RUN in place of --embeddings")
    _check_settings(settings, task, "stored embeddings have no use for it")
    for field in dataclasses.fields(EvalSettings):
        if field.name not in ("evaluation", "templates") and getattr(settings, field.name) != field.default:
            raise UserError(f"--{field.name} is for --workdir; stored embeddings have no use for it")
    return task.evaluate_embeddings(path, settings.templates)


def describe(workdir: Path | None, result: dict[str, Any], evaluation: str | None = None) -> str:
    """The result of `evaluate`, or of `evaluate_embeddings` if there is no `workdir`, in words."""
    own = _open(workdir)[2] if workdir else find_task(DEFAULT_TASK)
    return _evaluating_task(evaluation, own).describe(result)


def _open(workdir: Path) -> tuple[RunDirectory, TrainConfig | None, Task]:
    """The directory, its configuration (None for converted weights), and the task."""
    run = RunDirectory(workdir)
    config = load_config(run.config) if run.is_run() else None
    return run, config, find_task(config.task if config else DEFAULT_TASK)


def _evaluating_task(evaluation: str | None, own: Task) -> Task:
    """The task that evaluates: `own`, unless that has another evaluation. UserError for an unknown one."""
    if evaluation in (None, own.evaluation):
        return own
    tasks = {task.evaluation: task for task in map(find_task, reversed(TASKS))}
    if evaluation not in tasks:
        raise UserError(f"--task={evaluation} is no evaluation; known: {', '.join(sorted(tasks))}")
    return tasks[evaluation]


def _check_embeds(workdir: Path, config: TrainConfig | None, own: Task, task: Task) -> None:
    """UserError unless a run of the task `own` has what the evaluation of `task` needs: a CLIP that embeds images."""
    if not task.embeds:
        names = " or ".join(name for name in TASKS if find_task(name) is task)
        raise UserError(f"--task={task.evaluation} is for runs of --task={names}; {workdir} is not one")
    if not own.embeds:
        names = " or ".join(name for name in TASKS if find_task(name).embeds)
        raise UserError(
            f"{workdir} is a run of --task={config.task if config else ''}, which cannot do --task={task.evaluation}: "
            f"leave that out for {own.evaluation}, or name converted weights or a run of --task={names}"
        )


def _check_settings(settings: EvalSettings, task: Task, otherwise: str) -> None:
    """UserError for a setting that the evaluation of `task` does not use."""
    for name in TASK_SPECIFIC:
        if name in task.eval_settings or getattr(settings, name) == getattr(EvalSettings(), name):
            continue
        using = {other: find_task(other) for other in TASKS if name in find_task(other).eval_settings}
        if any(other.embeds for other in using.values()):
            evaluations = " or ".join(dict.fromkeys(other.evaluation for other in using.values()))
            raise UserError(f"--{name} is for --task={evaluations}, and this is {task.evaluation}")
        raise UserError(f"--{name} is for runs of --task={' or '.join(using)}; {otherwise}")
