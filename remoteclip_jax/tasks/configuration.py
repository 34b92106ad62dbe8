"""The configuration of a run: made from a preset and the user's settings, loaded from the run, or extended."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from remoteclip_jax.errors import UserError
from remoteclip_jax.files.json_files import schema_mismatch, schema_of
from remoteclip_jax.runs.config import (
    ADDED_FIELDS,
    EXTENDABLE_FIELDS,
    FIELDS_OF_OTHER_TASKS,
    PATH_FIELDS,
    RENAMED_FIELDS,
    TrainConfig,
)
from remoteclip_jax.runs.fields import checked_value, field_value, from_json, with_assignments
from remoteclip_jax.tasks.registry import DEFAULT_TASK, TASKS, task_settings


def new_config(settings: Mapping[str, Any], accelerator: bool = False) -> TrainConfig:
    """The configuration of a preset with the user's `settings` in place of its own.

    `settings` maps names of fields to values. Its entry "set" is a mapping of its own, from dotted names
    (`detector.layers`) to JSON values. Without a preset the task's default is used, which may depend on whether there
    is an `accelerator`, and on whether training starts from `weights`. UserError for unknown tasks, presets and fields,
    and for invalid values.
    """
    name = settings.get("task", DEFAULT_TASK)
    task = task_settings(name)
    preset = settings.get("preset", task.default_preset(accelerator, bool(settings.get("weights"))))
    if preset not in task.presets:
        raise UserError(f"--preset={preset} is unknown for --task={name}; known: {', '.join(task.presets)}")
    flat = _flat_settings(task.config, name, settings)
    plain = {key: value for key, value in flat.items() if "." not in key}
    dotted = {key: value for key, value in flat.items() if "." in key}
    chosen = dataclasses.replace(task.presets[preset], **{**plain, "task": name, "preset": preset})
    config = with_assignments(task.complete(chosen, plain), dotted)
    assert isinstance(config, TrainConfig)
    return config


def _flat_settings(kind: type[TrainConfig], task: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with the entries of "set" among the others. `kind` is the configuration of `task`. UserError for a
    field that it does not have, and for a field that is given twice."""
    result = {name: value for name, value in settings.items() if name != "set"}
    for name in result:
        if name not in _fields(kind):
            raise UserError(f"--{name} {_elsewhere(name) or 'is not a setting'}; --task={task} does not use it")
    for name, value in settings.get("set", {}).items():
        if name in result:
            raise UserError(f"--set={name}=… and --{name} set the same field: leave one out")
        first = name.partition(".")[0]
        if first not in _fields(kind) and (elsewhere := _elsewhere(first)):
            raise UserError(f"--set={name}=…: {first} {elsewhere}; --task={task} does not use it")
        result[name] = checked_value(kind, name, value)
    return result


def _fields(kind: type[TrainConfig]) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def _elsewhere(field: str) -> str | None:
    """Which tasks have a field of this name, in words; None if none has."""
    tasks = [task for task in TASKS if field in _fields(task_settings(task).config)]
    return f"is for --task={' or '.join(tasks)}" if tasks else None


def load_config(path: Path) -> TrainConfig:
    """The configuration in the file `path` of a run directory; version 0.1.0 can be read too. UserError if the file is
    missing or damaged."""
    try:
        values = json.loads(path.read_text())
        if problem := schema_mismatch(values, {"task": str}):
            raise ValueError(problem)
        kind = task_settings(values["task"]).config
        own = _fields(kind)
        values = {RENAMED_FIELDS.get(name, name): value for name, value in values.items()}
        values = {name: value for name, value in values.items() if name in own or name not in FIELDS_OF_OTHER_TASKS}
        values = ADDED_FIELDS | values
        if problem := schema_mismatch(values, schema_of(kind)):
            raise ValueError(problem)
        config = from_json(kind, values)
        assert isinstance(config, TrainConfig)
        return config
    except FileNotFoundError:
        raise UserError(f"{path.parent} is not a run directory: it has no config.json") from None
    except (ValueError, TypeError, KeyError, RecursionError, UserError) as e:
        raise UserError(f"{path} is damaged or from another version: {e}") from None


def resumed_config(saved: TrainConfig, settings: Mapping[str, Any], workdir: Path) -> TrainConfig:
    """The `saved` configuration of `workdir` with the user's new length of training and new paths. UserError that names
    every other setting that differs.

    Settings that the user does not give keep their saved values. Whether a new path leads to the same data is checked
    when the data are read.
    """
    task = settings.get("task", saved.task)
    settings = _flat_settings(task_settings(task).config, task, settings)
    moved = {name: settings[name] for name in PATH_FIELDS if name in settings and _saved_value(saved, name) is not None}
    settings = {name: value for name, value in settings.items() if name not in moved}
    differing = [
        f"--{name}={value} (was {_saved_value(saved, name)})"
        for name, value in settings.items()
        if name not in EXTENDABLE_FIELDS and _saved_value(saved, name) != value
    ]
    if differing:
        raise UserError(
            f"{workdir} holds a run with other settings: {', '.join(differing)}; choose another --workdir, "
            f"or leave these settings out to resume that run"
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


def _saved_value(saved: TrainConfig, name: str) -> Any:
    """The saved value of a setting; None if the run's task does not have it."""
    return field_value(saved, name) if hasattr(saved, name.partition(".")[0]) else None
