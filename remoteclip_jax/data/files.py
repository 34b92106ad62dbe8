"""Looking things up in a data directory: split lists, images by stem; and the notes that a reader makes on the way."""

from collections import Counter
from pathlib import Path

from remoteclip_jax.data.images import EXTENSIONS
from remoteclip_jax.errors import UserError


def read_stems(path: Path) -> list[str]:
    """The image names of a split file, without directories or extensions, in order; blank lines are skipped.

    UserError where a name points out of the data directory, or stands there twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None
    stems = []
    for line in lines:
        name = line.strip()
        if not name:
            continue
        if "/" in name or "\\" in name or name in (".", ".."):
            raise UserError(f"{path}: {name!r} is a path; expected one image name a line")
        stems.append(name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in EXTENSIONS else name)
    for stem, count in Counter(stems).items():
        if count > 1:
            raise UserError(f"{path}: {stem!r} stands there {count} times")
    return stems


def images_by_stem(directories: list[Path]) -> dict[str, Path]:
    """The image files in `directories` by their names without extension; links are followed."""
    found: dict[str, Path] = {}
    for directory in directories:
        for path in sorted(directory.iterdir()) if directory.is_dir() else ():
            if path.suffix.lower() in EXTENSIONS:
                found.setdefault(path.stem, path)
    return found


def shown(name: str) -> str:
    """`name` as it can be printed: of a file name that is no UTF-8, the odd bytes as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


class Notes:
    """Counts what a reader drops or repairs, for the screen and the report."""

    def __init__(self, split: str) -> None:
        self._split = split
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, what: str, where: Path | str, count: int = 1) -> None:
        """`count` times `what`; `where` is a file, or says more than its name."""
        if count:
            self._counts[what] += count
            self._first.setdefault(what, shown(where.name if isinstance(where, Path) else where))

    def lines(self) -> tuple[str, ...]:
        return tuple(
            f"{self._split}: {count} {what} (first in {self._first[what]})" for what, count in self._counts.items()
        )
