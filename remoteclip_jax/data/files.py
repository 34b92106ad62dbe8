"""The notes that a reader makes on the way."""

from collections import Counter
from pathlib import Path


class Notes:
    """Counts what a reader drops or repairs, for the screen and the report."""

    def __init__(self, split: str) -> None:
        self._split = split
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, what: str, where: Path, count: int = 1) -> None:
        if count:
            self._counts[what] += count
            # A name that is no UTF-8 could be printed nowhere.
            self._first.setdefault(what, where.name.encode(errors="backslashreplace").decode())

    def lines(self) -> tuple[str, ...]:
        return tuple(
            f"{self._split}: {count} {what} (first in {self._first[what]})" for what, count in self._counts.items()
        )
