"""Class names: those of DIOR, and matching the names in a user's files to the known classes."""

import difflib
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from remoteclip_jax.errors import UserError
from remoteclip_jax.files.text_files import read_text

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


def _name_key(name: str) -> str:
    """The same for all spellings of a name. Releases of DIOR differ in case, hyphens and spaces, and operating systems
    in how they compose letters and accents."""
    return "".join(c for c in unicodedata.normalize("NFC", name.casefold()) if c not in " -_\t")


def find_class_index(name: str, classes: Sequence[str]) -> int | None:
    """The index of `name` in `classes`, ignoring case, hyphens, underscores and spaces; None if it is not there.

    An exact match takes precedence, so that names that differ only in case remain distinct.
    """
    if name in classes:
        return list(classes).index(name)
    key = _name_key(name)
    return next((i for i, candidate in enumerate(classes) if _name_key(candidate) == key), None)


def class_index(name: str, classes: Sequence[str], source: str | Path = "the classes") -> int:
    """The index of `name` in `classes`, as from `find_class_index`.

    UserError, naming `source`, the unknown name and the nearest class, if it is not there.
    """
    index = find_class_index(name, classes)
    if index is not None:
        return index
    keys = [_name_key(candidate) for candidate in classes]
    nearest = difflib.get_close_matches(_name_key(name), keys, n=1, cutoff=0.0)
    hint = f"; the nearest known class is {classes[keys.index(nearest[0])]!r}" if nearest else ""
    raise UserError(f"{source}: unknown class {name!r}{hint} (--classes=FILE names other classes)")


def read_class_file(path: Path) -> tuple[str, ...]:
    """Class names from a text file, one per line; blank lines are skipped.

    UserError if there is no name, or if a name occurs twice.
    """
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if not names:
        raise UserError(f"{path}: no class name in this file; write one per line")
    for i, name in enumerate(names):
        if find_class_index(name, names[:i]) is not None:
            raise UserError(f"{path}: class {name!r} occurs twice")
    return names
