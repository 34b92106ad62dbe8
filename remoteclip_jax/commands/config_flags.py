"""The fields of the tasks' configurations as absl flags. Without a flag, the preset's or the run's value is kept."""

from collections.abc import Callable
from typing import Any, get_args, get_type_hints

from absl import flags

from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.fields import Setting, choices_of, parse_assignment, settings_of
from remoteclip_jax.tasks.registry import DEFAULT_TASK, TASKS, task_settings

flags.disclaim_key_flags()  # they belong to the command that defines them with this module's help

Holder = flags.FlagHolder[Any]


def define_config_flags() -> Callable[[], dict[str, Any]]:
    """Define `--task`, `--preset`, and a flag for each field that has a help text.

    Returns a function that returns the fields that the user set, by name. Call it after the flags have been parsed.
    """
    purposes = "; ".join(f"{name}: {purpose}" for name, purpose in TASKS.items())
    task_help = f"what to train ({DEFAULT_TASK}). {purposes}"
    holders: dict[str, tuple[Holder, Setting]] = {
        "task": (flags.DEFINE_enum("task", None, list(TASKS), task_help), Setting()),
        "preset": (flags.DEFINE_string("preset", None, f"named settings: {_presets()}"), Setting()),
    }
    for task in TASKS:
        kind = task_settings(task).config
        hints = get_type_hints(kind)
        for name, properties in settings_of(kind).items():
            if properties.help is not None and name not in holders:
                is_shared = name in TrainConfig.__dataclass_fields__
                text = properties.help if is_shared else f"{task}: {properties.help}"
                holders[name] = (_define(name, hints[name], properties, text), properties)

    def user_settings() -> dict[str, Any]:
        values = {}
        for name, (holder, properties) in holders.items():
            if holder.present:
                values[name] = properties.parse(holder.value) if properties.parse else _plain(holder.value)
        return values

    return user_settings


def define_set_flag() -> Callable[[], dict[str, Any]]:
    """Define `--set`. Returns a function that returns its assignments, by dotted field names. Call it after the flags
    have been parsed."""
    holder = flags.DEFINE_multi_string(
        "set", [], "any field of the configuration, repeatable: FIELD=VALUE, the value in JSON, as detector.layers=4"
    )
    return lambda: dict(parse_assignment(text) for text in holder.value)


def _presets() -> str:
    return "; ".join(f"for {task} {', '.join(task_settings(task).presets)}" for task in TASKS)


def _define(name: str, hint: Any, properties: Setting, text: str) -> Holder:
    """A flag for a field of the type `hint`."""
    if properties.path:
        return DEFINE_path(name, None, text)
    if properties.parse:
        return flags.DEFINE_string(name, None, text)
    if choices := choices_of(hint):
        return flags.DEFINE_enum(name, None, list(choices), text)
    kind = next((option for option in (hint, *get_args(hint)) if option in (bool, int, float, str)), None)
    define: dict[Any, Callable[..., Holder]] = {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }
    if hint == tuple[str, ...]:
        return flags.DEFINE_list(name, None, text)
    return define[kind](name, None, text)


def _plain(value: Any) -> Any:
    """The value of a flag; a list becomes a tuple of stripped strings."""
    return tuple(item.strip() for item in value) if isinstance(value, list) else value
