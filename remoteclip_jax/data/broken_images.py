"""Images that are missing or cannot be read: an error, or, with `--skip_broken`, skipped and named in a note."""

import dataclasses
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from remoteclip_jax.data.image_sources import ImageSource
from remoteclip_jax.data.images import ImageHeader, read_header, read_image
from remoteclip_jax.data.notes import utf8_name
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError

MAX_NAMED = 3
SKIP_BROKEN_HINT = "(--skip_broken leaves such images out)"


class ImageOpener:
    """Opens the images of a split for a reader. With `skip_broken`, it records images that cannot be read."""

    def __init__(self, skip_broken: bool = False) -> None:
        self.skip_broken = skip_broken
        self._skipped: dict[str, None] = {}

    def header(self, path: ImageSource) -> ImageHeader | None:
        """The header of an image; None if the image is to be skipped. UserError if it is broken."""
        try:
            return read_header(path)
        except UserError as e:
            self.reject(path.name, e)
            return None

    def reject(self, name: str, error: UserError) -> None:
        """Skip the image `name` because of `error`, or raise the error."""
        if not self.skip_broken:
            raise UserError(f"{error} {SKIP_BROKEN_HINT}") from None
        self._skipped[name] = None

    def readable(self, dataset: Dataset) -> Dataset:
        """`dataset` unchanged, or, with `skip_broken`, only the examples whose pixels can be decoded. A header alone
        does not show whether the pixels are intact."""
        if not self.skip_broken:
            return dataset
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            readable = list(pool.map(_is_readable, (example.image for example in dataset.examples)))
        for example, good in zip(dataset.examples, readable, strict=True):
            if not good:
                self._skipped[example.image.name] = None
        kept = tuple(example for example, good in zip(dataset.examples, readable, strict=True) if good)
        return dataclasses.replace(dataset, examples=kept, notes=(*dataset.notes, *self._notes(dataset.split)))

    def _notes(self, split: str) -> tuple[str, ...]:
        count = len(self._skipped)
        return (
            (f"{split}: {count} images cannot be read and are left out ({first_names(self._skipped)})",)
            if count
            else ()
        )


def _is_readable(path: ImageSource) -> bool:
    try:
        read_image(path, at_least=1)  # at any scale, all data of a JPEG is read
    except UserError:
        return False
    return True


def first_names(names: Iterable[str]) -> str:
    """The first few of `names`, separated by commas, and how many more there are."""
    names = [utf8_name(name) for name in names]
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
