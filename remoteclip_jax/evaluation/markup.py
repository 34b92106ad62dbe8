"""Strings of unknown origin as Markdown that shows them and does nothing else; tables and pictures of a report.

Class names, paths, notes and settings come from other people's files. Where they enter a report they go through `text`
or `code`; cells of a table do by themselves. A value that has been through one of them is a `Markup`.
"""

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from remoteclip_jax.printable import printable


class Markup(str):
    """Markdown, not to be escaped again."""


class Picture(NamedTuple):
    """A picture that the program itself has put into the run directory: its place there, and words in its stead."""

    path: Path
    words: str


_SPECIAL = re.compile(r"[\\`*\[\]<>!&~$]|(?<![^\W_])_|_(?![^\W_])")  # within a word `_` is a letter
_LEADING = re.compile(r"^(\d{1,9}(?=[.)](?:\s|$))|(?=[#+=-](?![\w.])))")  # lists, headings, rules


def text(value: object) -> Markup:
    """`value` as it stands, on one line."""
    if isinstance(value, Markup):
        return value
    shown = " ".join(printable(" ".join(str(value).split())).split())
    return Markup(_LEADING.sub(r"\1\\", _SPECIAL.sub(r"\\\g<0>", shown)))


def code(value: object) -> Markup:
    """`value` as it stands, on one line and in a fixed width: for paths."""
    shown = printable(str(value)) or " "
    fence = _fence(shown, 1)
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return Markup(f"{fence}{pad}{shown}{pad}{fence}")


def block(lines: str, language: str = "") -> Markup:
    """`lines` of a program or of a command line."""
    shown = "\n".join(printable(line) for line in lines.split("\n"))
    fence = _fence(shown, 3)
    return Markup(f"{fence}{language}\n{shown}\n{fence}\n")


def _fence(content: str, least: int) -> str:
    """More backticks than any run of them in `content` has."""
    return "`" * max([least, *(len(run) + 1 for run in re.findall("`+", content))])


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """A table of plain values, which are escaped, and of `Markup`, which is not."""
    lines: list[Sequence[object]] = [head, [Markup("---")] * len(head), *rows]
    return Markup("".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines))


def _cell(value: object) -> str:
    return text(value).replace("|", "\\|")  # rows are split first of all, so that bars in code need it too


def shell(value: object) -> str:
    """`value` as one word of a command line."""
    return shlex.quote(str(value))


def string(value: object) -> str:
    """`value` as a string of Python."""
    return json.dumps(str(value), ensure_ascii=False)
