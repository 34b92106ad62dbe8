"""The results of a prediction on disk, in shards. A shard is whole or absent, and a kill loses no result.

`NNNNNN.jsonl` (or `.parquet`) are finished. The one under way is `NNNNNN.jsonl.part`, to which a line is appended for
every image. A process that is killed leaves it behind, and the next one goes on with it.
"""

import contextlib
import json
from pathlib import Path
from typing import BinaryIO

from remoteclip_jax.files.writing import write_atomically

from .rows import Row, name_and_failure, to_line
from .shards import shard_names, shard_rows, write_shard

_NUMBER, _PART = "[0-9]" * 6, ".jsonl.part"


class Results:
    """The shards in a folder, to which no other process writes.

    `done` are the names of the images in them, `failed` is how many of these could not be read, and `dropped` how many
    lines were cut off or damaged by the end of the last process. Use it as a context, which closes its file.
    """

    def __init__(self, folder: Path, output_format: str, shard_images: int, retry_errors: bool = False) -> None:
        """Create the folder, or go on with it. The format is one of `FORMATS`. With `retry_errors`, images that could
        not be read are forgotten.

        UserError if a shard is damaged.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in folder.glob(".*.tmp"):
            unfinished.unlink()
        self.done: set[str] = set()
        self.failed = 0
        shards = sorted(folder.glob(f"{_NUMBER}.{output_format}"))
        for path in shards:
            names = shard_names(path)
            if retry_errors and any(failed for _, failed in names):
                names = _without_errors(path)
            self._count(names)
        parts = sorted(int(path.name.removesuffix(_PART)) for path in folder.glob(_NUMBER + _PART))
        self._number = max([0, *(int(path.stem) + 1 for path in shards), *parts])
        self._folder, self._format, self._shard_images = folder, output_format, shard_images
        for number in parts:
            if number < self._number:  # its shard was written, and then the process was killed
                self._part(number).unlink()
        self._lines, self.dropped = _complete_lines(self._part(self._number), retry_errors)
        self._count([name_and_failure(line) for line in self._lines])
        self._file: BinaryIO | None = None

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, row: Row) -> None:
        """Add the result of an image that is not done. When this returns, it survives the end of this process."""
        if self._file is None:
            self._file = self._part(self._number).open("ab")
        line = to_line(row)
        self._file.write(line.encode())
        self._file.flush()
        self._lines.append(line)
        self._count([name_and_failure(line)])
        if len(self._lines) >= self._shard_images:
            self.finish_shard()

    def finish_shard(self) -> None:
        """Make a shard of what was added since the last one."""
        if self._lines:
            write_shard(self._folder / f"{self._number:06}.{self._format}", [json.loads(line) for line in self._lines])
            if self._file is not None:
                self._file.close()
            self._part(self._number).unlink()
            self._file, self._lines, self._number = None, [], self._number + 1

    def _part(self, number: int) -> Path:
        return self._folder / f"{number:06}{_PART}"

    def _count(self, names: list[tuple[str, bool]]) -> None:
        self.done.update(name for name, _ in names)
        self.failed += sum(failed for _, failed in names)


def _without_errors(shard: Path) -> list[tuple[str, bool]]:
    """Remove the images that could not be read from a shard, and name the others."""
    rows = [row for row in shard_rows(shard) if "error" not in row]
    if rows:
        write_shard(shard, rows)
    else:
        shard.unlink()
    return [(row["image"], False) for row in rows]


def _complete_lines(part: Path, retry_errors: bool) -> tuple[list[str], int]:
    """The lines of an unfinished shard up to the first that is not complete, and how many were not. The file is left
    with these alone."""
    try:
        found = part.read_bytes().decode("utf-8", "replace").splitlines(keepends=True)
    except FileNotFoundError:
        return [], 0
    lines: list[str] = []
    with contextlib.suppress(ValueError):
        for line in found:
            name_and_failure(line)
            json.loads(line)
            lines.append(line)
    kept = [line for line in lines if not (retry_errors and name_and_failure(line)[1])]
    if kept:
        write_atomically(part, "".join(kept))
    else:
        part.unlink()
    return kept, len(found) - len(lines)
