"""One shard of results: a file of JSON lines or of Parquet, written completely or not at all."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from remoteclip_jax.errors import UserError
from remoteclip_jax.files.writing import write_atomically

from .parquet import read_names, read_parquet, write_parquet
from .rows import Row, name_and_failure, to_line

FORMATS = ("jsonl", "parquet")  # also the suffixes of the files


def write_shard(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows in the format of the path's suffix. When this returns, they survive a loss of power."""

    def write(file: BinaryIO) -> None:
        if path.suffix == ".parquet":
            write_parquet(file, rows)
        else:
            file.writelines(to_line(row).encode() for row in rows)
        file.flush()
        os.fsync(file.fileno())

    write_atomically(path, write)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def shard_rows(path: Path) -> list[Row]:
    """The rows of a shard. UserError if it is damaged."""
    try:
        if path.suffix == ".parquet":
            return read_parquet(path)
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except Exception as e:  # pyarrow raises many kinds
        raise _damaged(path, e) from None


def shard_names(path: Path) -> list[tuple[str, bool]]:
    """The image of each row of a shard, and whether it could not be read. UserError if the shard is damaged."""
    try:
        if path.suffix == ".parquet":
            return read_names(path)
        with path.open(encoding="utf-8", newline="\n") as file:
            return [name_and_failure(line) for line in file]
    except Exception as e:  # pyarrow raises many kinds
        raise _damaged(path, e) from None


def _damaged(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{path} is damaged ({reason}): put it back, or remove it, and its images are predicted again")
