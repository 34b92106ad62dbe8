"""Files as bad copies, bad disks and bad editors leave them: at random, and the same each time."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from remoteclip_jax.errors import UserError


def refusal(read: Callable[[], object]) -> str | None:
    """The message with which `read()` refuses what it finds, which must be one line; None where it takes it."""
    try:
        read()
    except UserError as e:
        message = str(e)
    else:
        return None
    assert len(message.splitlines()) == 1
    return message


def damaged(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` mutations of `content`: bytes altered, left out, put in, said twice, in one place or in several."""
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        data = bytearray(content)
        for _ in range(int(rng.choice([1, 1, 1, 2, 4, 16]))):
            at, length = int(rng.integers(0, len(data) + 1)), int(rng.choice([1, 1, 2, 4, 8, 64]))
            match int(rng.integers(0, 7)):
                case 0:
                    data[at : at + length] = rng.bytes(min(length, len(data) - at))
                case 1:
                    data[at : at + 1] = bytes([data[at] ^ 1 << int(rng.integers(0, 8))]) if at < len(data) else b""
                case 2:
                    del data[at : at + length]
                case 3:
                    data[at:at] = rng.bytes(length)
                case 4:
                    data[at:at] = data[at : at + length]
                case 5:
                    data[at : at + length] = bytes([int(rng.choice([0, 255, 48, 57]))]) * min(length, len(data) - at)
                case 6 if rng.random() < 0.3:
                    del data[at:]
        yield bytes(data)


ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "<script>",
    "\udcff",
    "a\nb",
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"x": {}},
    "9" * 5000,
)


def altered(value: Any, count: int, seed: int = 0) -> Iterator[Any]:
    """`count` versions of a JSON value in each of which something within is left out or is something odd."""
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        changed = json.loads(json.dumps(value))
        for _ in range(int(rng.choice([1, 1, 2, 4]))):
            changed = _alter(changed, rng)
        yield changed


def _alter(value: Any, rng: np.random.Generator) -> Any:
    if not isinstance(value, dict | list) or not value or rng.random() < 0.05:
        return copy.deepcopy(ODD[int(rng.integers(0, len(ODD)))])
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[int(rng.integers(0, len(keys)))]
    if rng.random() < 0.15:
        del value[key]
    else:
        value[key] = _alter(value[key], rng)
    return value
