"""Images in object storage and on servers, through fsspec: listing them, and copies on the local disk to read."""

import tempfile
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from remoteclip_jax.data.notes import utf8_name
from remoteclip_jax.errors import UserError
from remoteclip_jax.runtime.background import background_threads, in_advance


@dataclass(frozen=True)
class LocalImage:
    """The image `name`, a path or a URL, in a file of this machine; or the error that kept it from getting there."""

    name: str
    file: Path | UserError


def is_url(name: str) -> bool:
    """Whether this is a URL that fsspec opens, such as `s3://bucket/folder`, and not a path."""
    return "://" in name


def remote_files(url: str, recursive: bool) -> list[str]:
    """The URLs of all files, sorted: of those that a pattern matches, of those in a folder, or the file itself.

    UserError, naming the URL, if the storage cannot be reached or has none.
    """
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
        if any(character in path for character in "*?["):
            found: Any = [name for name, entry in system.glob(path, detail=True).items() if entry["type"] == "file"]
        else:
            found = system.find(path, maxdepth=None if recursive else 1)
        return [system.unstrip_protocol(name) for name in sorted(found)]
    except Exception as e:  # each storage has its own
        raise _storage_error(url, e) from None


@contextmanager
def local_images(names: Iterable[str], ahead: int) -> Iterator[Generator[LocalImage, None, None]]:
    """Each of `names` as a file on this machine, in order. A URL is copied in a thread, `ahead` images before it is
    needed; call `discard` when the copy has been read. None is left at the end of the `with` block."""
    with tempfile.TemporaryDirectory(prefix="remoteclip-") as folder, background_threads() as pool:

        def started() -> Iterator[tuple[str, Future[Path | UserError] | Path]]:
            for number, name in enumerate(names):
                copy = Path(folder, f"{number}{PurePosixPath(name).suffix}")
                yield name, pool.submit(_copy, name, copy) if is_url(name) else Path(name)

        yield (
            LocalImage(name, file.result() if isinstance(file, Future) else file)
            for name, file in in_advance(started(), ahead)
        )


def discard(image: LocalImage) -> None:
    """Remove the copy of a URL."""
    if is_url(image.name) and isinstance(image.file, Path):
        image.file.unlink(missing_ok=True)


def _copy(url: str, file: Path) -> Path | UserError:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
        system.get_file(path, str(file))
    except Exception as e:  # each storage has its own
        return _storage_error(url, e)
    return file


def _storage_error(url: str, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"{utf8_name(url)}: no such file")
    return UserError(f"{utf8_name(url)}: {' '.join(str(error).split()) or type(error).__name__}")
