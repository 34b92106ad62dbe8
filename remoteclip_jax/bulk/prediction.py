"""The one function from images to rows, by which every process predicts: the command itself, and each worker of Ray."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from remoteclip_jax.data.image_sources import ImageSource
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.detector.searching import find_in_images
from remoteclip_jax.errors import UserError
from remoteclip_jax.tasks.detect.request import ReadyDetector

from .remote import LocalImage, discard, is_url, local_images
from .rows import Row, error_row, found_row

BATCHES_COPIED_AHEAD = 4


class _NotesByFile(Notes):
    """Keeps notes on each file, for its row."""

    def __init__(self) -> None:
        super().__init__("images")
        self._notes: dict[ImageSource | str, list[str]] = {}

    def add(self, what: str, where: ImageSource | str, count: int = 1) -> None:
        self._notes.setdefault(where, []).append(what)

    def of(self, file: Path) -> list[str]:
        """The notes on a file, which are then forgotten."""
        return self._notes.pop(file, [])


def predict_rows(ready: ReadyDetector, names: Iterable[str], batch_size: int) -> Generator[Row, None, None]:
    """The row of each image, in order. `names` are paths, or URLs, which are copied to this machine and removed again.

    Images are read ahead, and predicted `batch_size` at a time.
    """
    notes, waiting = _NotesByFile(), deque[LocalImage]()

    def readable(images: Iterable[LocalImage]) -> Iterator[Path]:
        for image in images:
            waiting.append(image)
            if isinstance(image.file, Path):
                yield image.file

    def failed_copies() -> Iterator[Row]:
        while waiting and isinstance(error := waiting[0].file, UserError):
            yield error_row(waiting.popleft().name, error)

    with local_images(names, BATCHES_COPIED_AHEAD * batch_size) as images:
        results = find_in_images(
            ready.detector,
            ready.prompts,
            readable(images),
            notes=notes,
            batch_size=batch_size,
            least_score=float(np.min(ready.threshold)),
            **ready.options,
        )
        with closing(results):
            for result in results:
                yield from failed_copies()
                image = waiting.popleft()
                discard(image)
                if isinstance(result, UserError):
                    yield error_row(image.name, _with_name(result, image))
                else:
                    found = result.detections.above(ready.threshold)
                    if result.damage is not None:
                        notes.add(_with_name(result.damage, image), result.path)
                    yield found_row(image.name, result.header.size, found, notes.of(result.path))
            yield from failed_copies()


def _with_name(error: UserError, image: LocalImage) -> str:
    """The message, with the URL in place of the copy."""
    return str(error).replace(str(image.file), image.name) if is_url(image.name) else str(error)
