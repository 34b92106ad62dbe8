"""Notes on what a reader drops or repairs."""

from collections import Counter

from remoteclip_jax.data.image_sources import ImageSource


def utf8_name(name: str) -> str:
    """`name` as valid UTF-8. Bytes of a file name that are not UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


class Notes:
    """Counts what a reader drops or repairs, for the screen and the report."""

    def __init__(self, split: str) -> None:
        self._split = split
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, what: str, where: ImageSource | str, count: int = 1) -> None:
        """Count `what` another `count` times. `where` is a file, or a text if its name alone says too little."""
        if count:
            self._counts[what] += count
            self._first.setdefault(what, utf8_name(where if isinstance(where, str) else where.name))

    def lines(self) -> tuple[str, ...]:
        """One line for each kind of note, with its count and where it first occurred."""
        return tuple(
            f"{self._split}: {count} {what} (first in {self._first[what]})" for what, count in self._counts.items()
        )
