"""The fields of the tasks' configurations as absl flags. An unset flag keeps the preset's value, or the run's."""

from collections.abc import Callable, Iterable
from typing import Any, get_args, get_type_hints

from absl import flags

from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.fields import Setting, choices_of, parse_assignment, settings_of
from remoteclip_jax.tasks.registry import DEFAULT, TASKS, task_settings

flags.disclaim_key_flags()  # they belong to the command that defines them with this module's help

Holder = flags.FlagHolder[Any]


def define_config_flags(only: Iterable[str] | None = None) -> Callable[[], dict[str, Any]]:
    """Define `--task`, `--preset` and a flag for each field that has a help text, or for those named in `only`; what
    this returns gives the fields that the user set, by name, after the flags have been parsed."""
    purposes = "; ".join(f"{name}: {purpose}" for name, purpose in TASKS.items())
    holders: dict[str, tuple[Holder, Setting]] = {
        "task": (flags.DEFINE_enum("task", None, list(TASKS), f"what to train ({DEFAULT}). {purposes}"), Setting()),
        "preset": (flags.DEFINE_string("preset", None, f"named settings: {_presets()}"), Setting()),
    }
    for task in TASKS:
        kind = task_settings(task).config
        hints = get_type_hints(kind)
        for name, about in settings_of(kind).items():
            wanted = about.help is not None if only is None else name in only
            if wanted and name not in holders:
                assert about.help is not None
                text = about.help if name in TrainConfig.__dataclass_fields__ else f"{task}: {about.help}"
                holders[name] = (_define(name, hints[name], about, text), about)

    def named() -> dict[str, Any]:
        given = {name: (holder.value, about) for name, (holder, about) in holders.items() if holder.present}
        return {name: about.parse(value) if about.parse else _plain(value) for name, (value, about) in given.items()}

    return named


def define_set_flag() -> Callable[[], dict[str, Any]]:
    """Define `--set`; what this returns gives the assignments, by dotted field names."""
    holder = flags.DEFINE_multi_string(
        "set", [], "any field of the configuration, repeatable: FIELD=VALUE, the value in JSON, as detector.layers=4"
    )
    return lambda: dict(parse_assignment(text) for text in holder.value)


def _presets() -> str:
    return "; ".join(f"for {task} {', '.join(task_settings(task).presets)}" for task in TASKS)


def _define(name: str, hint: Any, about: Setting, text: str) -> Holder:
    if about.path:
        return DEFINE_path(name, None, text)
    if about.parse:
        return flags.DEFINE_string(name, None, text)
    if choices := choices_of(hint):
        return flags.DEFINE_enum(name, None, list(choices), text)
    kind = next((one for one in (hint, *get_args(hint)) if one in (bool, int, float, str)), None)
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
    return tuple(one.strip() for one in value) if isinstance(value, list) else value
