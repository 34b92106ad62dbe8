"""Files inside a data directory, found by the names that annotation tools write for them."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from remoteclip_jax.data.splits import role
from remoteclip_jax.errors import UserError

DEEPEST = 12  # folders of a name that are looked at; what lies before is another machine's


class Finder:
    """Looks files up below `root`, and never above it.

    A name may have slashes of either kind, be a link, and begin with folders that are not here
    (`..\\..\\upload\\4\\a.jpg`, `/data/upload/a%20b.jpg`): its longest end that is found in one of the places given
    counts, and else its last part, if one file alone has that name. That comparison is blind to case, to Unicode's
    normal form, and to whether a name was unpacked as UTF-8.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, name: str, places: Sequence[Path]) -> Path | None:
        """The file, None where there is none. UserError where it may be one of several."""
        for spelling in dict.fromkeys((name, unquote(name))):
            parts = _parts(spelling)
            for first in dict.fromkeys((0, *range(max(0, len(parts) - DEEPEST), len(parts)))):
                for place in places:
                    if parts and os.path.isfile(path := place.joinpath(*parts[first:])):  # which minds no name too long
                        return path
            if parts and (found := self._by_last_part(name, parts[-1], places)):
                return found
        return None

    def find_directory(self, name: str, places: Sequence[Path]) -> Path | None:
        """The directory, or the list of files, in the first of `places` that has it. The end of a name will do, as long
        as it keeps the part that names a split: `images/` alone may be another's."""
        parts = _parts(name)
        last = next((i for i in reversed(range(len(parts))) if role(parts[i])), len(parts) - 1)
        for first in range(max(0, last + 1 - DEEPEST), last + 1):
            for place in places:
                if os.path.exists(path := place.joinpath(*parts[first:])):
                    return path
        return None

    def _by_last_part(self, name: str, last: str, places: Sequence[Path]) -> Path | None:
        if self._by_name is None:
            self._by_name = {}
            for path in walk(self._root):
                for key in _keys(path.name):
                    self._by_name.setdefault(key, []).append(path)
        found = self._by_name.get(_key(last), [])
        for some in (*([path for path in found if path.parent == place] for place in places), found):
            if len(some) == 1:
                return some[0]
        if found:
            raise UserError(f"{name!r} may be {found[0]} or {found[1]}")
        return None


def _parts(name: str) -> list[str]:
    """The folders and the file of a name, from the last step upwards on."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    above = [i for i, part in enumerate(parts) if part == ".."]
    return parts[above[-1] + 1 :] if above else parts


def walk(root: Path) -> Iterator[Path]:
    """All files below `root` that are not hidden; links are followed, each directory once."""
    seen = set()
    for directory, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(directory)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if real not in seen else []
        if real not in seen:
            yield from (Path(directory, name) for name in sorted(files) if not name.startswith("."))
        seen.add(real)


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _keys(name: str) -> set[str]:
    """How `name` may be written in an annotation file; archives of other systems unpack to bytes that are no UTF-8."""
    data = os.fsencode(name)
    encodings = ("utf-8",) if _decodes(data, "utf-8") else ("cp1252", "cp437")
    return {_key(data.decode(encoding)) for encoding in encodings if _decodes(data, encoding)}


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
