"""Names of images and classes in the output: safe to write, and distinct where the format needs that."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

from remoteclip_jax.data.image_files import EXTENSIONS
from remoteclip_jax.data.notes import Notes, utf8_name

# Line breaks, byte order marks and other control characters, which text files, XML or YAML cannot all hold.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_SLASHES = re.compile(r"[/\\]")


class ImageNames:
    """Hands out the file names of images in a directory.

    Readers find the labels of an image by its stem. So images from several folders, or of several formats, get distinct
    stems, also where a file system ignores case.
    """

    def __init__(self) -> None:
        self._owners: dict[str, tuple[Path, str]] = {}

    def name(self, source: Path, stem: str, suffix: str, notes: Notes) -> str:
        """The name for the part `stem` of the file `source`: always the same for the same part. A changed one is
        noted."""
        safe = _safe_stem(stem)
        chosen, number = safe, 1
        while self._owners.setdefault(_key(chosen), (source, stem)) != (source, stem):
            number += 1
            chosen = f"{safe}_{number}"
        notes.add("images renamed, so that all names are distinct and can be written", source, int(chosen != stem))
        return chosen + suffix


def _key(stem: str) -> str:
    return unicodedata.normalize("NFC", stem).casefold()


def _safe_stem(stem: str) -> str:
    """`stem` as every reader of lists and labels understands it."""
    stem = _SLASHES.sub("_", _UNSAFE.sub("_", utf8_name(stem))).strip().lstrip(".")
    head, dot, last = stem.rpartition(".")
    if dot and f".{last.lower()}" in EXTENSIONS:  # would be taken for the extension in a list
        stem = f"{head}_{last}"
    return stem or "image"


def one_line(name: str) -> str:
    """A class name without line breaks and control characters, and without blanks at its ends."""
    return _UNSAFE.sub(" ", name).strip() or "class"


def one_word(name: str) -> str:
    """A class name as a single word, such as `storage-tank`."""
    return "-".join(one_line(name).split())


def class_names(classes: Sequence[str], form: Callable[[str], str], notes: Notes) -> tuple[str, ...]:
    """The `classes` in the `form` that a format can hold, all distinct. Changed ones are noted."""
    names: list[str] = []
    for original in classes:
        name, number = form(original), 1
        while name in names:
            number += 1
            name = f"{form(original)}-{number}"
        what = "class names changed to what the format can hold"
        notes.add(what, f"{original!r}, now {name!r}", int(name != original))
        names.append(name)
    return tuple(names)
