"""Decoded images and their halves, kept in memory as long as there is room: decoding, and averaging down what is seen
from afar, are most of the work of a small data set."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from remoteclip_jax.data.images import read_image
from remoteclip_jax.runtime.memory import free_memory

LIMIT = 4 * 2**30  # bytes
SHARE = 0.25  # of the memory that is free: the training step needs more than its images
LEAST = 64  # pixels


class ImageCache:
    """Reads images (of more than three bands, `bands`) of at most `size` pixels a side, reduced where the file has
    more; the first ones that fit into `limit` bytes (None: `LIMIT`, or less where memory is short) are read once, and
    kept whole, at half their size, at a quarter and so on down to `LEAST` pixels. Threads may share it: at worst two of
    them read the same image."""

    def __init__(self, size: int, limit: int | None = None, bands: tuple[int, ...] | None = None) -> None:
        self._size, self._bands = size, bands
        self._left = min(LIMIT, int(SHARE * free_memory())) if limit is None else limit
        self._images: dict[Path, list[UInt8[np.ndarray, "_ _ 3"]]] = {}

    def read(self, path: Path, at_least: int) -> UInt8[np.ndarray, "h w 3"]:
        """The image in RGB, its shorter side of at least `at_least` pixels or the file's own; the same pixels whether
        they were kept or not, for a resumed run keeps other images. UserError as from `read_image`."""
        levels = self._images.get(path)
        if levels is None:
            levels = self._levels(path)
            if self._left > 0:
                self._left -= sum(level.size for level in levels)
                self._images[path] = levels
        return next((level for level in reversed(levels) if min(level.shape[:2]) >= at_least), levels[0])

    def _levels(self, path: Path) -> list[UInt8[np.ndarray, "_ _ 3"]]:
        image = read_image(path, at_least=self._size, bands=self._bands)
        # A JPEG comes reduced; what does not is kept no larger, though it was read whole.
        if (factor := min(image.size) // self._size) > 1:
            image = image.reduce(factor)
        levels = [np.asarray(image)]
        while min(image.size) >= 2 * LEAST:
            image = image.reduce(2)
            levels.append(np.asarray(image))
        return levels
