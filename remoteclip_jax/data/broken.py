"""Images that are missing or cannot be read: an error, or, with `--skip_broken`, left out and named."""

import dataclasses
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from remoteclip_jax.data.images import Header, read_header, read_image
from remoteclip_jax.data.notes import shown
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError

NAMED = 3
REMEDY = "(--skip_broken leaves such images out)"


class Images:
    """Opens the images of a split for a reader, and remembers those that cannot be read."""

    def __init__(self, skip_broken: bool = False) -> None:
        self.skip_broken = skip_broken
        self._left_out: dict[str, None] = {}

    def header(self, path: Path) -> Header | None:
        """None where the image is to be left out. UserError where it is broken."""
        try:
            return read_header(path)
        except UserError as e:
            self.fail(path.name, e)
            return None

    def fail(self, name: str, error: UserError) -> None:
        """Leave out the image `name` because of `error`, or raise it."""
        if not self.skip_broken:
            raise UserError(f"{error} {REMEDY}") from None
        self._left_out[name] = None

    def decoded(self, dataset: Dataset) -> Dataset:
        """`dataset` as it is; to skip broken images, only those of its examples whose pixels can be decoded, which a
        header does not tell."""
        if not self.skip_broken:
            return dataset
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            whole = list(pool.map(_decodes, (example.image for example in dataset.examples)))
        for example, good in zip(dataset.examples, whole, strict=True):
            if not good:
                self._left_out[example.image.name] = None
        kept = tuple(example for example, good in zip(dataset.examples, whole, strict=True) if good)
        return dataclasses.replace(dataset, examples=kept, notes=(*dataset.notes, *self._notes(dataset.split)))

    def _notes(self, split: str) -> tuple[str, ...]:
        count = len(self._left_out)
        return (f"{split}: {count} images that cannot be read left out ({first(self._left_out)})",) if count else ()


def _decodes(path: Path) -> bool:
    try:
        read_image(path, at_least=1)  # a JPEG's whole data is read at any scale
    except UserError:
        return False
    return True


def first(names: Iterable[str]) -> str:
    """The first few of `names`, for a line."""
    names = [shown(name) for name in names]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
