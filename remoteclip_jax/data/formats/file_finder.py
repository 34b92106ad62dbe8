"""Finding files inside a data directory by the names that annotation tools write."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from remoteclip_jax.data.splits import split_role
from remoteclip_jax.errors import UserError

MAX_DEPTH = 12  # parts of a path that are tried; longer prefixes belong to another machine


class FileFinder:
    """Finds files below `root`, and never outside it.

    A name may have slashes of either kind, be a URL, and begin with directories that do not exist here
    (`..\\..\\upload\\4\\a.jpg`, `/data/upload/a%20b.jpg`). The longest end of the name that exists in one of the given
    directories is used; or else its last part, if exactly one file has that name. That comparison ignores case, Unicode
    normalisation, and whether the name was unpacked as UTF-8.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, name: str, directories: Sequence[Path]) -> Path | None:
        """The file; None if there is none. UserError if several could be meant."""
        for spelling in dict.fromkeys((name, unquote(name))):
            parts = _parts(spelling)
            for first in dict.fromkeys((0, *range(max(0, len(parts) - MAX_DEPTH), len(parts)))):
                for directory in directories:
                    # Unlike Path.is_file, os.path.isfile accepts names of any length.
                    if parts and os.path.isfile(path := directory.joinpath(*parts[first:])):
                        return path
            if parts and (found := self._by_last_part(name, parts[-1], directories)):
                return found
        return None

    def find_directory(self, name: str, directories: Sequence[Path]) -> Path | None:
        """The directory, or the list of images, in the first of `directories` that has it; None if there is none.

        The end of the name is enough, provided that it includes the part that names a split: `images/` alone may belong
        to another split.
        """
        parts = _parts(name)
        last = next((i for i in reversed(range(len(parts))) if split_role(parts[i])), len(parts) - 1)
        for first in range(max(0, last + 1 - MAX_DEPTH), last + 1):
            for directory in directories:
                if os.path.exists(path := directory.joinpath(*parts[first:])):
                    return path
        return None

    def _by_last_part(self, name: str, last: str, directories: Sequence[Path]) -> Path | None:
        if self._by_name is None:
            self._by_name = {}
            for path in visible_files(self._root):
                for key in _name_keys(path.name):
                    self._by_name.setdefault(key, []).append(path)
        found = self._by_name.get(_name_key(last), [])
        in_directories = ([path for path in found if path.parent == directory] for directory in directories)
        for candidates in (*in_directories, found):
            if len(candidates) == 1:
                return candidates[0]
        if found:
            raise UserError(f"{name!r} may be {found[0]} or {found[1]}")
        return None


def _parts(name: str) -> list[str]:
    """The parts of a path after its last `..`."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    parents = [i for i, part in enumerate(parts) if part == ".."]
    return parts[parents[-1] + 1 :] if parents else parts


def visible_files(root: Path) -> Iterator[Path]:
    """All files below `root` that are not hidden. Links are followed; each directory is visited once."""
    seen = set()
    for directory, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(directory)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if real not in seen else []
        if real not in seen:
            yield from (Path(directory, name) for name in sorted(files) if not name.startswith("."))
        seen.add(real)


def _name_key(name: str) -> str:
    """The same for all names that differ only in case or Unicode normalisation."""
    return unicodedata.normalize("NFC", name).casefold()


def _name_keys(name: str) -> set[str]:
    """The keys of the spellings that an annotation file may have for `name`. Archives from other systems may unpack to
    names that are not UTF-8."""
    data = os.fsencode(name)
    encodings = ("utf-8",) if _is_decodable(data, "utf-8") else ("cp1252", "cp437")
    return {_name_key(data.decode(encoding)) for encoding in encodings if _is_decodable(data, encoding)}


def _is_decodable(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
