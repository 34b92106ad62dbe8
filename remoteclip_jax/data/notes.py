"""The notes that a reader makes on the way."""

from collections import Counter
from pathlib import Path


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
