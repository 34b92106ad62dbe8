"""Settings as fields of a dataclass. Each field carries its help text, its bounds and its form on the command line."""

import dataclasses
import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from remoteclip_jax.errors import UserError
from remoteclip_jax.files.json_files import schema_mismatch, schema_of


@dataclass(frozen=True)
class Setting:
    """The metadata of a field.

    A field with a `help` text has a flag of its own. Every field can be given as `--set=FIELD=VALUE`, unless it is
    `derived` by the program. `between` are inclusive bounds. `path` marks a path. `parse` reads the flag's text.
    """

    help: str | None = None
    between: tuple[float, float] | None = None
    path: bool = False
    parse: Callable[[str], Any] | None = None
    derived: bool = False


def setting(default: Any, help: str | None = None, **properties: Any) -> Any:
    """A dataclass field with this default. `properties` are the other fields of `Setting`."""
    return field(default=default, metadata={"setting": Setting(help, **properties)})


def settings_of(kind: type) -> dict[str, Setting]:
    """The `Setting` of each field of a dataclass, by name."""
    return {f.name: f.metadata.get("setting", Setting()) for f in dataclasses.fields(kind)}


def choices_of(hint: Any) -> tuple[Any, ...]:
    """The values of a `Literal`; an empty tuple for any other type."""
    return get_args(hint) if get_origin(hint) is Literal else ()


def check_fields(config: Any) -> None:
    """UserError for a number out of its bounds, or a value that is not one of the choices."""
    hints = get_type_hints(type(config))
    for name, properties in settings_of(type(config)).items():
        value = getattr(config, name)
        if properties.between and value is not None and not properties.between[0] <= value <= properties.between[1]:
            low, high = properties.between
            raise UserError(f"--{name}={value} is out of range: it must lie between {low:g} and {high:g}")
        if (choices := choices_of(hints[name])) and value not in choices:
            raise UserError(f"--{name}={value} is unknown; known: {', '.join(map(str, choices))}")


def parse_assignment(text: str) -> tuple[str, Any]:
    """The name and the value in `FIELD=VALUE`, as given to `--set`, such as `detector.layers=4`. UserError if the value
    is not JSON."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UserError(f"--set={text}: expected FIELD=VALUE, such as --set=detector.layers=4")
    try:
        return name.strip(), json.loads(value)
    except (ValueError, RecursionError):
        hint = f"'{name.strip()}={json.dumps(value)}'"
        raise UserError(f"--set={text}: {value!r} is not a JSON value; a string needs quotes: --set={hint}") from None


def checked_value(kind: type, name: str, value: Any, prefix: str = "") -> Any:
    """`value`, checked against the field `name` of the dataclass `kind`; a list becomes a tuple.

    A dot in `name` leads into a field that is a dataclass itself; `prefix` is the path that led to `kind`. UserError
    for a field that does not exist, naming the nearest, and for a value that the field does not take.
    """
    first, dot, rest = name.partition(".")
    path, settings, hints = prefix + name, settings_of(kind), get_type_hints(kind)
    inner = _dataclass_in(hints.get(first))
    if first not in settings or settings[first].derived or (dot and inner is None):
        possible = [other for other in _dotted_names(kind, prefix) if other != path]
        nearest = difflib.get_close_matches(path, possible, n=1, cutoff=0.0)[0]
        raise UserError(f"--set={path}=…: there is no such setting; the nearest is {nearest}")
    if inner is not None:
        if dot:
            return checked_value(inner, rest, value, f"{prefix}{first}.")
        raise UserError(f"--set={path}=…: set its fields one by one, such as {path}.{next(iter(settings_of(inner)))}=…")
    if problem := schema_mismatch(value, schema_of(hints[first]), path):
        raise UserError(f"--set={path}={json.dumps(value)}: {problem}, which is not {_description(hints[first])}")
    if (choices := choices_of(hints[first])) and value not in choices:
        raise UserError(f"--set={path}={json.dumps(value)} is unknown; known: {', '.join(map(str, choices))}")
    return tuple(value) if isinstance(value, list) else value


def with_assignments(config: Any, values: Mapping[str, Any]) -> Any:
    """A copy of the dataclass `config` with `values`, given by dotted field names. UserError for an invalid one."""
    for name, value in values.items():
        try:
            config = _with_value(config, name, value)
        except ValueError as e:
            raise UserError(f"--set={name}={json.dumps(value)}: {e}") from None
    return config


def _with_value(config: Any, name: str, value: Any) -> Any:
    first, _, rest = name.partition(".")
    return dataclasses.replace(config, **{first: _with_value(getattr(config, first), rest, value) if rest else value})


def field_value(config: Any, name: str) -> Any:
    """The value of a field by its dotted name."""
    for part in name.split("."):
        config = getattr(config, part)
    return config


def from_json(kind: Any, value: Any) -> Any:
    """A value of type `kind` from its JSON form, in which dataclasses are objects and tuples are lists."""
    inner = _dataclass_in(kind)
    if inner is not None and isinstance(value, dict):
        hints = get_type_hints(inner)
        return inner(**{name: from_json(hints.get(name), item) for name, item in value.items()})
    if isinstance(value, list):
        return tuple(from_json(None, item) for item in value)
    return value


def _dataclass_in(hint: Any) -> type | None:
    """The dataclass in a type hint, which may be a union of it and None; None if there is none."""
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return next((option for option in options if dataclasses.is_dataclass(option) and isinstance(option, type)), None)


def _dotted_names(kind: type, prefix: str = "") -> list[str]:
    """The dotted names of all fields that can be set."""
    hints, names = get_type_hints(kind), []
    for name, properties in settings_of(kind).items():
        inner = _dataclass_in(hints[name])
        if inner is not None:
            names += _dotted_names(inner, f"{prefix}{name}.")
        elif not properties.derived:
            names.append(prefix + name)
    return names


def _description(hint: Any) -> str:
    """A type in words, for error messages."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a string", type(None): "null"}
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_description(option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list, each {_description(get_args(hint)[0])}"
    if choices := choices_of(hint):
        return "one of " + ", ".join(map(str, choices))
    return words.get(hint, "such a value")
