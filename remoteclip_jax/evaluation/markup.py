"""Strings of unknown origin as Markdown that only shows them; and the tables and pictures of a report.

Class names, paths, notes and settings come from other people's files. Before they enter a report they must pass through
`text` or `code`; `table` does that for its cells. The result is a `Markup`.
"""

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from remoteclip_jax.printable import printable


class Markup(str):
    """Markdown that must not be escaped again."""


class Picture(NamedTuple):
    """A picture that this program has written to the run directory: its path, and a text to show in its place."""

    path: Path
    words: str


_SPECIAL = re.compile(r"[\\`*\[\]<>!&~$]|(?<![^\W_])_|_(?![^\W_])")  # `_` within a word has no meaning in Markdown
_LEADING = re.compile(r"^(\d{1,9}(?=[.)](?:\s|$))|(?=[#+=-](?![\w.])))")  # lists, headings, rules


def text(value: object) -> Markup:
    """`value` on one line, shown as it is."""
    if isinstance(value, Markup):
        return value
    shown = " ".join(printable(" ".join(str(value).split())).split())
    return Markup(_LEADING.sub(r"\1\\", _SPECIAL.sub(r"\\\g<0>", shown)))


def code(value: object) -> Markup:
    """`value` on one line, shown as it is in a fixed-width font: for paths."""
    shown = printable(str(value)) or " "
    fence = _fence(shown, 1)
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return Markup(f"{fence}{pad}{shown}{pad}{fence}")


def block(lines: str, language: str = "") -> Markup:
    """`lines` of a program or of a command line, as a code block."""
    shown = "\n".join(printable(line) for line in lines.split("\n"))
    fence = _fence(shown, 3)
    return Markup(f"{fence}{language}\n{shown}\n{fence}\n")


def _fence(content: str, least: int) -> str:
    """Backticks, at least `least`, and more than any run of them in `content`."""
    return "`" * max([least, *(len(run) + 1 for run in re.findall("`+", content))])


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """A table. Plain values are escaped; `Markup` is not."""
    lines: list[Sequence[object]] = [head, [Markup("---")] * len(head), *rows]
    return Markup("".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines))


def _cell(value: object) -> str:
    return text(value).replace("|", "\\|")  # in code too, because parsers split rows before anything else


def shell(value: object) -> str:
    """`value` quoted as one word of a command line."""
    return shlex.quote(str(value))


def string(value: object) -> str:
    """`value` as a Python string literal."""
    return json.dumps(str(value), ensure_ascii=False)
