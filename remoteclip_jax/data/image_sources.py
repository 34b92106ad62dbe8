"""Where the bytes of an image lie: in a file of its own, or in a tar archive."""

import io
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO


@dataclass(frozen=True)
class TarMember:
    """A file inside of an uncompressed tar archive: `size` bytes from `offset` on. `member` is its path in there."""

    archive: Path
    member: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.archive}: {self.member}"

    @property
    def name(self) -> str:
        """The name without folders, `shard.tar: 000001.jpg`: shards often number their members from zero."""
        return f"{self.archive.name}: {self.member}"

    @property
    def suffix(self) -> str:
        """The extension, as of a path."""
        return PurePosixPath(self.member).suffix

    def open(self) -> BinaryIO:
        """The content, opened for reading; only what is asked for is read. OSError as from opening the archive."""
        return io.BufferedReader(_Part(self.archive.open("rb", buffering=0), self.offset, self.size))


ImageSource = Path | TarMember


def open_source(source: ImageSource) -> BinaryIO:
    """The content of an image file, opened for reading. OSError if that fails."""
    return source.open("rb") if isinstance(source, Path) else source.open()


def source_size(source: ImageSource) -> int:
    """Its bytes. OSError as from `open_source`."""
    return source.stat().st_size if isinstance(source, Path) else source.size


def source_key(source: ImageSource) -> tuple[str, int]:
    """The same for the same file, whatever links lead to it, and for the same member of an archive."""
    path, offset = (source, 0) if isinstance(source, Path) else (source.archive, source.offset)
    return os.path.realpath(path), offset


class _Part(io.RawIOBase):
    """A range of an open file, which is closed with it."""

    mode = "rb"

    def __init__(self, file: io.FileIO, offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._position = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError("a position before the start")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._size - self._position))
        self._file.seek(self._offset + self._position)
        read = self._file.readinto(memoryview(buffer)[:count])
        self._position += read
        return read

    def close(self) -> None:
        self._file.close()
        super().close()
