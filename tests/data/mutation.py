"""Random write_damaged to files, from a seeded generator."""

import copy
from pathlib import Path
from typing import Any

import numpy as np

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    7,
    1e308,
    -0.0,
    float("nan"),
    float("inf"),
    10**400,
    "",
    "7",
    "nan",
    "\x00",
    "\ud800",
    "../..",
    "/",
    "a" * 5000,
    [],
    {},
    [[]],
    [None],
    {"id": {}},
    [1, 2, 3, 4],
)
SNIPPETS = (
    b"\x00",
    b"\xff\xfe",
    b"-",
    b"nan",
    b"1e999",
    b"[",
    b"{",
    b"}",
    b"<",
    b">",
    b"&x;",
    b"*a",
    b"&a ",
    b"\n",
    b"\r",
    b" ",
    b"'",
    b'"',
    b"\\",
    b"..",
    b"/",
    b"9" * 30,
    b": ",
    b"- ",
    b"!!",
    b"%",
    b"#",
    b"|",
    b"\t",
    "é".encode(),
    b"\xf0\x9f",
)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """`content` with one to four pieces removed, doubled or replaced."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        start = int(rng.integers(len(data) + 1))
        end = min(len(data), start + int(rng.integers(1, 12)))
        piece = (b"", bytes(data[start:end]) * 2, SNIPPETS[rng.integers(len(SNIPPETS))], rng.bytes(3))
        data[start:end] = piece[rng.integers(len(piece))]
    return bytes(data)


def restructured(content: Any, rng: np.random.Generator) -> Any:
    """The JSON value `content` with one to three of its values removed or replaced by odd ones."""
    content = copy.deepcopy(content)
    for _ in range(rng.integers(1, 4)):
        places = list(_places(content))
        if not places:
            return content
        inside, key = places[rng.integers(len(places))]
        if rng.random() < 0.2:
            del inside[key]
        else:
            inside[key] = ODD_VALUES[rng.integers(len(ODD_VALUES))]
    return content


def _places(content: Any) -> Any:
    for key in content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ():
        yield content, key
        yield from _places(content[key])


def write_damaged(path: Path, content: bytes, rng: np.random.Generator) -> None:
    path.write_bytes(damaged(content, rng))
