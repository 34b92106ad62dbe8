"""Reading JSON files of runs and checking them against a schema: they may have been edited or damaged since."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from remoteclip_jax.errors import UserError

# What a value must be:
#   a type                      (`float` accepts whole numbers too)
#   `[schema]`                  a list of such values
#   `{str: schema}`             an object with any keys
#   `{"key": schema, …}`        an object with these keys, and perhaps others
#   `Partial({"key": schema})`  an object that may lack some of these keys
#   `(schema, schema)`          one or the other
Schema = Any


class Partial(dict[str, Schema]):
    """The schemas of an object's keys, some of which may be missing."""


def read_json(path: Path, schema: Schema) -> Any:
    """The content of `path`. UserError if it is not JSON, or does not match the schema."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None
    except (ValueError, RecursionError) as e:
        raise UserError(f"{path} is damaged: {e}") from None
    if problem := schema_mismatch(value, schema):
        raise UserError(f"{path} is damaged: {problem}")
    return value


def schema_mismatch(value: Any, schema: Schema, place: str = "") -> str | None:
    """The first place where `value` does not match `schema`, as a message; None if it matches."""
    if isinstance(schema, tuple):
        return None if any(schema_mismatch(value, one) is None for one in schema) else _description(value, place)
    if isinstance(schema, list):
        if not isinstance(value, list):
            return f"{_description(value, place)}, not a list"
        return _first_problem(schema_mismatch(one, schema[0], f"{place}[{i}]") for i, one in enumerate(value))
    if isinstance(schema, Mapping):
        if not isinstance(value, dict):
            return f"{_description(value, place)}, not an object"
        if str in schema:
            items = ((key, one, schema[str]) for key, one in value.items())
            return _first_problem(schema_mismatch(one, inner, _key_path(place, key)) for key, one, inner in items)
        if not isinstance(schema, Partial) and (missing := [key for key in schema if key not in value]):
            return f"{_key_path(place, missing[0])} is missing"
        items = ((key, value[key], inner) for key, inner in schema.items() if key in value)
        return _first_problem(schema_mismatch(one, inner, _key_path(place, key)) for key, one, inner in items)
    return None if _has_type(value, schema) else _description(value, place)


def schema_of(kind: Any) -> Schema:
    """The schema of values of this type in JSON. Fields of a dataclass may be missing, since later versions add some;
    tuples are lists."""
    if dataclasses.is_dataclass(kind):
        return Partial({name: schema_of(hint) for name, hint in get_type_hints(kind).items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return tuple({type(argument) for argument in arguments})
    if origin is tuple:
        return [schema_of(arguments[0])]
    if origin in (Union, UnionType):
        return tuple(map(schema_of, arguments))
    return None if kind is type(None) else kind


def _has_type(value: Any, kind: type | None) -> bool:
    if kind is None:
        return value is None
    if kind is float:
        return isinstance(value, float) or _has_type(value, int)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, kind)


def _description(value: Any, place: str) -> str:
    return f"{place or 'it'} is {'null' if value is None else repr(str(value)[:40])}"


def _key_path(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _first_problem(problems: Any) -> str | None:
    return next((problem for problem in problems if problem), None)
