"""A run's configuration: made from a preset and the user's settings, read again from the run, or extended."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from remoteclip_jax.errors import UserError
from remoteclip_jax.files.json_files import schema_mismatch, schema_of
from remoteclip_jax.runs.config import EXTENDABLE_FIELDS, FIELDS_OF_OTHER_TASKS, PATH_FIELDS, RENAMED_FIELDS, TrainConfig
from remoteclip_jax.runs.fields import with_assignments, checked_value, from_json, field_value
from remoteclip_jax.tasks.registry import DEFAULT, TASKS, task_settings


def new_config(settings: Mapping[str, Any], accelerator: bool = False) -> TrainConfig:
    """The preset's configuration with the user's `settings` over it; without a preset the task's default, which may
    depend on whether there is an `accelerator`. `settings` are fields by name, and as "set" a mapping of further ones
    by dotted names (`detector.layers`) to values as JSON has them.

    UserError for unknown tasks, presets and fields, and for values that cannot be.
    """
    name = settings.get("task", DEFAULT)
    task = task_settings(name)
    preset = settings.get("preset", task.default_preset(accelerator))
    if preset not in task.presets:
        raise UserError(f"--preset={preset} is unknown for --task={name}; known: {', '.join(task.presets)}")
    named = _flattened(task.config, name, settings)
    plain = {key: value for key, value in named.items() if "." not in key}
    dotted = {key: value for key, value in named.items() if "." in key}
    chosen = dataclasses.replace(task.presets[preset], **{**plain, "task": name, "preset": preset})
    config = with_assignments(task.complete(chosen, plain), dotted)
    assert isinstance(config, TrainConfig)
    return config


def _flattened(kind: type[TrainConfig], task: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with those of "set" among the others. UserError for one that `kind`, the settings of `task`, has not,
    and where the same is said twice."""
    own = {field.name for field in dataclasses.fields(kind)}
    result = {name: value for name, value in settings.items() if name != "set"}
    for name in result:
        if name not in own:
            others = [other for other in TASKS if name in task_settings(other).config.__dataclass_fields__]
            belongs = f"is for --task={' or '.join(others)}" if others else "is no setting"
            raise UserError(f"--{name} {belongs}; --task={task} has no use for it")
    for name, value in settings.get("set", {}).items():
        if name in result:
            raise UserError(f"--set={name}=… and --{name} say the same: leave one out")
        result[name] = checked_value(kind, name, value)
    return result


def load_config(path: Path) -> TrainConfig:
    """The configuration saved in a run directory, also of version 0.1.0. UserError where the file is missing or not
    one of ours."""
    try:
        values = json.loads(path.read_text())
        if problem := schema_mismatch(values, {"task": str}):
            raise ValueError(problem)
        kind = task_settings(values["task"]).config
        own = {field.name for field in dataclasses.fields(kind)}
        values = {RENAMED_FIELDS.get(name, name): value for name, value in values.items()}
        values = {name: value for name, value in values.items() if name in own or name not in FIELDS_OF_OTHER_TASKS}
        if problem := schema_mismatch(values, schema_of(kind)):
            raise ValueError(problem)
        config = from_json(kind, values)
        assert isinstance(config, TrainConfig)
        return config
    except FileNotFoundError:
        raise UserError(f"{path.parent} is no run directory: it has no config.json") from None
    except (ValueError, TypeError, KeyError, RecursionError, UserError) as e:
        raise UserError(f"{path} is damaged or from another version: {e}") from None


def resumed_config(saved: TrainConfig, settings: Mapping[str, Any], workdir: Path) -> TrainConfig:
    """`saved`, with the user's new length of training; UserError naming every other setting that differs.

    Settings that the user does not name again keep their saved values. Paths may be named again: whether they lead to
    the same data is seen when these are read.
    """
    task = settings.get("task", saved.task)
    settings = _flattened(task_settings(task).config, task, settings)
    moved = {name: settings[name] for name in PATH_FIELDS if name in settings and getattr(saved, name) is not None}
    settings = {name: value for name, value in settings.items() if name not in moved}
    differing = [
        f"--{name}={value} (was {_saved(saved, name)})"
        for name, value in settings.items()
        if name not in EXTENDABLE_FIELDS and _saved(saved, name) != value
    ]
    if differing:
        raise UserError(
            f"{workdir} holds a run with other settings: {', '.join(differing)}; choose another --workdir, "
            f"or leave these out to go on with that run"
        )
    longer = {name: settings[name] for name in EXTENDABLE_FIELDS if name in settings}
    if longer.get("max_minutes", saved.max_minutes) != saved.max_minutes:
        raise UserError(f"{workdir} was fitted to --max_minutes={saved.max_minutes}; to go on give --epochs")
    if any(getattr(saved, name) != value for name, value in longer.items()):
        longer |= {"total_steps": None, "fits": ()}
        if "epochs" in longer and "max_steps" not in longer:
            longer["max_steps"] = None
        if "epochs" in longer:
            longer["max_minutes"] = None
    return dataclasses.replace(saved, **longer, **moved)


def _saved(saved: TrainConfig, name: str) -> Any:
    """The saved value of a setting, None where another task has it."""
    return field_value(saved, name) if hasattr(saved, name.partition(".")[0]) else None
