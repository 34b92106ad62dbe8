"""The list of tasks. A task is a folder of this package, and its name is the folder's.

Its `config.py` has `CONFIG` (the dataclass of its settings), `PRESETS`, `default_preset` and `complete`. It must import
nothing heavy, since command lines read it before anything else. Its `task.py` has `TASK`, a `training.task.Task`.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.config import TrainConfig

if TYPE_CHECKING:  # it loads JAX
    from remoteclip_jax.training.task import Task

TASKS = {
    "align": "the image tower, against the text embeddings of class names",
    "detect": "a context-guided detector",
}
DEFAULT = "align"


@dataclass(frozen=True)
class TaskSettings:
    """What a task's `config.py` says. `default_preset` is the preset's name where the user names none, given whether
    there is an accelerator. `complete` takes the preset with the user's settings over it, and these settings alone, and
    returns the configuration that follows."""

    config: type[TrainConfig]
    presets: Mapping[str, TrainConfig]
    default_preset: Callable[[bool], str]
    complete: Callable[[Any, Mapping[str, Any]], TrainConfig]


def task_settings(name: str) -> TaskSettings:
    """The settings of a task, without loading JAX. UserError for an unknown name."""
    if name not in TASKS:
        raise UserError(f"--task={name} is unknown; known: {', '.join(TASKS)}")
    module = importlib.import_module(f"{__package__}.{name}.config")
    return TaskSettings(module.CONFIG, module.PRESETS, module.default_preset, module.complete)


def find_task(name: str) -> "Task":
    """A task by its name. UserError for an unknown one."""
    if name not in TASKS:
        raise UserError(f"--task={name} is unknown; known: {', '.join(TASKS)}")
    task: Task = importlib.import_module(f"{__package__}.{name}.task").TASK
    return task
