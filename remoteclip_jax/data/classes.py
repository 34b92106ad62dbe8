"""Class names: DIOR's, and how a name found in somebody's files is matched to a known one."""

import difflib
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from remoteclip_jax.errors import UserError

DIOR_CLASSES = (
    "airplane",
    "airport",
    "baseballfield",
    "basketballcourt",
    "bridge",
    "chimney",
    "dam",
    "Expressway-Service-area",
    "Expressway-toll-station",
    "golffield",
    "groundtrackfield",
    "harbor",
    "overpass",
    "ship",
    "stadium",
    "storagetank",
    "tenniscourt",
    "trainstation",
    "vehicle",
    "windmill",
)


def _key(name: str) -> str:
    """What makes two spellings one name: releases of DIOR differ in case, hyphens and spaces, and systems in how they
    compose letters and accents."""
    return "".join(c for c in unicodedata.normalize("NFC", name.casefold()) if c not in " -_\t")


def find(name: str, classes: Sequence[str]) -> int | None:
    """The index of `name` in `classes`, whatever its case, hyphens, underscores and spaces; None where there is none.

    An exact match goes first, so that names that differ in case alone stay apart.
    """
    if name in classes:
        return list(classes).index(name)
    key = _key(name)
    return next((i for i, known in enumerate(classes) if _key(known) == key), None)


def resolve(name: str, classes: Sequence[str], source: str | Path = "the classes") -> int:
    """As `find`; UserError naming `source`, the unknown name and the nearest known one."""
    index = find(name, classes)
    if index is not None:
        return index
    keys = [_key(known) for known in classes]
    nearest = difflib.get_close_matches(_key(name), keys, n=1, cutoff=0.0)
    hint = f"; the nearest known class is {classes[keys.index(nearest[0])]!r}" if nearest else ""
    raise UserError(f"{source}: unknown class {name!r}{hint} (--classes=FILE names other classes)")


def read_class_file(path: Path) -> tuple[str, ...]:
    """Class names, one a line; blank lines are skipped. UserError where there is none, or one stands there twice."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise UserError(f"{path}: no class name in this file; write one a line")
    for i, name in enumerate(names):
        if find(name, names[:i]) is not None:
            raise UserError(f"{path}: class {name!r} stands there twice")
    return names
