"""The list of tasks. A task is a folder of this package, and has the folder's name.

Its `config.py` defines `CONFIG` (the dataclass of its settings), `PRESETS`, `default_preset` and `complete`. Command
lines read it first, so it must import nothing heavy. Its `task.py` defines `TASK`, a `training.task.Task`.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.config import TrainConfig

if TYPE_CHECKING:  # the import loads JAX
    from remoteclip_jax.training.task import Task

TASKS = {
    "align": "the image tower, against the text embeddings of class names",
    "detect": "a context-guided detector",
}
DEFAULT_TASK = "align"


@dataclass(frozen=True)
class TaskSettings:
    """The content of a task's `config.py`.

    `default_preset(accelerator)` is the name of the preset if the user names none. `complete(config, settings)` returns
    the final configuration. It takes the preset with the user's settings applied, and these settings on their own.
    """

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
    """The task of this name. UserError for an unknown name."""
    if name not in TASKS:
        raise UserError(f"--task={name} is unknown; known: {', '.join(TASKS)}")
    task: Task = importlib.import_module(f"{__package__}.{name}.task").TASK
    return task
