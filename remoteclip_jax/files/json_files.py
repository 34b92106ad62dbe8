"""Reading the JSON that a run has written, which somebody or something may have changed since."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from remoteclip_jax.errors import UserError

# What a value has to be: a type (`float` takes whole numbers too), `[form]` for a list, `{str: form}` for an object of
# any keys, `{"key": form, …}` for one that has these and perhaps others, `Partial` for one that may lack some of them,
# `(form, form)` for one or the other.
Form = Any


class Partial(dict[str, Form]):
    """The forms of keys of which some may be absent."""


def read_json(path: Path, form: Form) -> Any:
    """The content of `path`. UserError where it is no JSON, or not of this form."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None
    except (ValueError, RecursionError) as e:
        raise UserError(f"{path} is damaged: {e}") from None
    if problem := mismatch(value, form):
        raise UserError(f"{path} is damaged: {problem}")
    return value


def mismatch(value: Any, form: Form, place: str = "") -> str | None:
    """What of `value` is not as `form` says; None where all is."""
    if isinstance(form, tuple):
        return None if any(mismatch(value, one) is None for one in form) else f"{place or 'it'} is {_kind(value)}"
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{place or 'it'} is {_kind(value)}, not a list"
        return _first(mismatch(one, form[0], f"{place}[{i}]") for i, one in enumerate(value))
    if isinstance(form, Mapping):
        if not isinstance(value, dict):
            return f"{place or 'it'} is {_kind(value)}, not an object"
        if str in form:
            return _first(mismatch(one, form[str], _joined(place, key)) for key, one in value.items())
        if not isinstance(form, Partial) and (missing := [key for key in form if key not in value]):
            return f"{_joined(place, missing[0])} is missing"
        return _first(mismatch(value[key], one, _joined(place, key)) for key, one in form.items() if key in value)
    return None if _is(value, form) else f"{place or 'it'} is {_kind(value)}"


def form_of(kind: Any) -> Form:
    """The form that a value of this type has in JSON: of a dataclass, of which some fields may have come since; tuples
    are lists."""
    if dataclasses.is_dataclass(kind):
        return Partial({name: form_of(hint) for name, hint in get_type_hints(kind).items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return tuple({type(argument) for argument in arguments})
    if origin is tuple:
        return [form_of(arguments[0])]
    if origin in (Union, UnionType):
        return tuple(map(form_of, arguments))
    return None if kind is type(None) else kind


def _is(value: Any, kind: type | None) -> bool:
    if kind is None:
        return value is None
    if kind is float:
        return isinstance(value, float) or _is(value, int)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, kind)


def _kind(value: Any) -> str:
    return "null" if value is None else f"{str(value)[:40]!r}"


def _joined(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _first(problems: Any) -> str | None:
    return next((problem for problem in problems if problem), None)
