"""The list of tasks. A task is a folder of this package, and has the folder's name.

Its `config.py` defines `CONFIG` (the dataclass of its settings), `PRESETS`, `default_preset` and `complete`. Command
lines read it first, so it must import nothing heavy. Its `task.py` defines `TASK`, a `training.task.Task`.
Its `report.py` defines `report(run, config, rows)`, which returns the parts of the report.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.config import TrainConfig

if TYPE_CHECKING:  # the import loads JAX
    from remoteclip_jax.training.task import Task

TASKS = {
    "align": "the image tower, against the text embeddings of class names",
    "detect": "a context-guided detector",
    "contrast": "both towers, against each other, on images and captions",
}
DEFAULT_TASK = "align"


@dataclass(frozen=True)
class TaskSettings:
    """The content of a task's `config.py`.

    `default_preset(accelerator, weights)` is the name of the preset if the user names none: with a GPU or without, from
    given weights or from random ones. `complete(config, settings)` returns the final configuration. It takes the preset
    with the user's settings applied, and these settings on their own.
    """

    config: type[TrainConfig]
    presets: Mapping[str, TrainConfig]
    default_preset: Callable[[bool, bool], str]
    complete: Callable[[Any, Mapping[str, Any]], TrainConfig]


def task_settings(name: str) -> TaskSettings:
    """The settings of a task, without loading JAX. UserError for an unknown name."""
    module = _module(name, "config")
    return TaskSettings(module.CONFIG, module.PRESETS, module.default_preset, module.complete)


def find_task(name: str) -> "Task":
    """The task of this name. UserError for an unknown name."""
    task: Task = _module(name, "task").TASK
    return task


def find_report(name: str) -> Callable[..., list[Any]]:
    """The function that makes the parts of a task's report. The import loads Matplotlib. UserError for an unknown
    name."""
    report: Callable[..., list[Any]] = _module(name, "report").report
    return report


def _module(task: str, part: str) -> ModuleType:
    if task not in TASKS:
        raise UserError(f"--task={task} is unknown; known: {', '.join(TASKS)}")
    return importlib.import_module(f"{__package__}.{task}.{part}")
