"""Decoded images and their halves, kept in memory as long as there is room: decoding, and averaging down what is seen
from afar, are most of the work of a small data set."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from remoteclip_jax.data.images import read_image

LIMIT = 4 * 2**30  # bytes
LEAST = 64  # pixels


class ImageCache:
    """Reads images (of more than three bands, `bands`) of at most `size` pixels a side, reduced where the file has
    more; the first ones that fit into `limit` bytes are read once, and kept whole, at half their size, at a quarter and
    so on down to `LEAST` pixels. Threads may share it: at worst two of them read the same image."""

    def __init__(self, size: int, limit: int = LIMIT, bands: tuple[int, ...] | None = None) -> None:
        self._size, self._left, self._bands = size, limit, bands
        self._images: dict[Path, list[UInt8[np.ndarray, "_ _ 3"]]] = {}

    def read(self, path: Path, at_least: int) -> UInt8[np.ndarray, "h w 3"]:
        """The image in RGB, its shorter side of at least `at_least` pixels or the file's own. UserError as from
        `read_image`."""
        kept = self._images.get(path)
        if kept is not None:
            return next((level for level in reversed(kept) if min(level.shape[:2]) >= at_least), kept[0])
        if self._left <= 0:
            return np.asarray(read_image(path, at_least=at_least, bands=self._bands))
        image = read_image(path, at_least=self._size, bands=self._bands)
        levels = [np.asarray(image)]
        while min(image.size) >= 2 * LEAST:
            image = image.reduce(2)
            levels.append(np.asarray(image))
        self._left -= sum(level.size for level in levels)
        self._images[path] = levels
        return levels[0]
