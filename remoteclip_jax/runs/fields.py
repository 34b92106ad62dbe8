"""Settings as fields of a dataclass: what each means, its bounds, and how a command line writes it, in one place."""

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
    """What a field's metadata say of it. With a `help` text the field is a flag of its own; every field that is not
    `derived` by the program can be given as `--set=FIELD=VALUE`."""

    help: str | None = None
    between: tuple[float, float] | None = None
    path: bool = False
    parse: Callable[[str], Any] | None = None
    derived: bool = False


def setting(default: Any, help: str | None = None, **properties: Any) -> Any:
    """A dataclass field with this default and the properties of a `Setting`."""
    return field(default=default, metadata={"setting": Setting(help, **properties)})


def settings_of(kind: type) -> dict[str, Setting]:
    """The settings of a dataclass, by field."""
    return {f.name: f.metadata.get("setting", Setting()) for f in dataclasses.fields(kind)}


def choices_of(hint: Any) -> tuple[Any, ...]:
    """The values of a `Literal`; none for any other type."""
    return get_args(hint) if get_origin(hint) is Literal else ()


def check_fields(config: Any) -> None:
    """UserError for a number out of its bounds, or a word that is none of the choices."""
    hints = get_type_hints(type(config))
    for name, about in settings_of(type(config)).items():
        value = getattr(config, name)
        if about.between and value is not None and not about.between[0] <= value <= about.between[1]:
            low, high = about.between
            raise UserError(f"--{name}={value} is out of range: it must lie between {low:g} and {high:g}")
        if (choices := choices_of(hints[name])) and value not in choices:
            raise UserError(f"--{name}={value} is unknown; known: {', '.join(map(str, choices))}")


def parse_assignment(text: str) -> tuple[str, Any]:
    """`FIELD=VALUE` of `--set`, such as `detector.layers=4`; the value is JSON. UserError where it is not."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UserError(f"--set={text}: expected FIELD=VALUE, such as --set=detector.layers=4")
    try:
        return name.strip(), json.loads(value)
    except (ValueError, RecursionError):
        hint = f"'{name.strip()}={json.dumps(value)}'"
        raise UserError(f"--set={text}: {value!r} is no JSON value; a string needs quotes: --set={hint}") from None


def checked_value(kind: type, name: str, value: Any) -> Any:
    """`value` as the field `name` of the dataclass `kind` has it; a dot leads into a field that is a dataclass.
    UserError for a field that does not exist, naming the nearest, or that does not take this value."""
    first, _, rest = name.partition(".")
    about, hints = settings_of(kind), get_type_hints(kind)
    inner = _dataclass_in(hints.get(first))
    if first not in about or about[first].derived or (rest and inner is None):
        possible = [path for path in _paths(kind) if path != name]
        near = difflib.get_close_matches(name, possible, n=1, cutoff=0.0)
        raise UserError(f"--set={name}=…: there is no such setting; the nearest is {near[0]}")
    if inner is not None:
        if rest:
            return checked_value(inner, rest, value)
        raise UserError(f"--set={name}=…: set its fields one by one, such as {name}.{next(iter(settings_of(inner)))}=…")
    if problem := schema_mismatch(value, schema_of(hints[first]), name):
        raise UserError(f"--set={name}={json.dumps(value)}: {problem}, which is not {_described(hints[first])}")
    if (choices := choices_of(hints[first])) and value not in choices:
        raise UserError(f"--set={name}={json.dumps(value)}: known are {', '.join(map(str, choices))}")
    return tuple(value) if isinstance(value, list) else value


def with_assignments(config: Any, values: Mapping[str, Any]) -> Any:
    """The dataclass `config` with `values` by dotted field names in place of its own. UserError for an invalid one."""
    for name, value in values.items():
        first, _, rest = name.partition(".")
        try:
            new = with_assignments(getattr(config, first), {rest: value}) if rest else value
            config = dataclasses.replace(config, **{first: new})
        except ValueError as e:
            raise UserError(f"--set={name}={json.dumps(value)}: {e}") from None
    return config


def field_value(config: Any, name: str) -> Any:
    """The value of a field by its dotted name."""
    for part in name.split("."):
        config = getattr(config, part)
    return config


def from_json(kind: Any, value: Any) -> Any:
    """A value of the type `kind` from what JSON made of it: dataclasses are objects, tuples are lists."""
    inner = _dataclass_in(kind)
    if inner is not None and isinstance(value, dict):
        hints = get_type_hints(inner)
        return inner(**{name: from_json(hints.get(name), one) for name, one in value.items()})
    if isinstance(value, list):
        return tuple(from_json(None, one) for one in value)
    return value


def _dataclass_in(hint: Any) -> type | None:
    """The dataclass that `hint` is, or is besides None."""
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return next((one for one in options if dataclasses.is_dataclass(one) and isinstance(one, type)), None)


def _paths(kind: type, prefix: str = "") -> list[str]:
    """The dotted names of all that can be set."""
    hints, paths = get_type_hints(kind), []
    for name, about in settings_of(kind).items():
        inner = _dataclass_in(hints[name])
        if inner is not None:
            paths += _paths(inner, f"{prefix}{name}.")
        elif not about.derived:
            paths.append(prefix + name)
    return paths


def _described(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a string", type(None): "null"}
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_described(one) for one in get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list, each {_described(get_args(hint)[0])}"
    if choices := choices_of(hint):
        return "one of " + ", ".join(map(str, choices))
    return names.get(hint, "such a value")
