"""A cache of decoded images and of their reductions by powers of two, limited by memory.

Decoding images, and averaging them down for the coarse views, are most of the work of training on a small data set.
"""

import numpy as np
from jaxtyping import UInt8

from remoteclip_jax.data.image_sources import ImageSource
from remoteclip_jax.data.images import read_image
from remoteclip_jax.runtime.memory import free_memory

MAX_BYTES = 4 * 2**30
FREE_MEMORY_SHARE = 0.25  # the training step needs more memory than its images
MIN_SIDE = 64  # pixels; no reduction has a shorter side below this


class ImageCache:
    """Reads images and keeps them for the next time.

    An image is reduced so that its shorter side has at least `size` pixels; `bands` are as in `read_image`. Each image
    is kept in full, at half its size, at a quarter, and so on down to `MIN_SIDE` pixels. Images are kept until `limit`
    bytes are used (None: `MAX_BYTES`, or less if memory is short); the rest are read every time. Threads may share a
    cache: at worst two of them read the same image.
    """

    def __init__(self, size: int, limit: int | None = None, bands: tuple[int, ...] | None = None) -> None:
        self._size, self._bands = size, bands
        self._bytes_left = min(MAX_BYTES, int(FREE_MEMORY_SHARE * free_memory())) if limit is None else limit
        self._images: dict[ImageSource, list[UInt8[np.ndarray, "_ _ 3"]]] = {}

    def read(self, path: ImageSource, at_least: int) -> UInt8[np.ndarray, "h w 3"]:
        """The image in RGB, with a shorter side of at least `at_least` pixels (or in full, if the file has fewer).

        The pixels do not depend on whether the image was in the cache: a resumed run keeps other images. UserError as
        from `read_image`.
        """
        levels = self._images.get(path)
        if levels is None:
            levels = self._pyramid(path)
            if self._bytes_left > 0:
                self._bytes_left -= sum(level.size for level in levels)
                self._images[path] = levels
        return next((level for level in reversed(levels) if min(level.shape[:2]) >= at_least), levels[0])

    def _pyramid(self, path: ImageSource) -> list[UInt8[np.ndarray, "_ _ 3"]]:
        """The image, and then each time half the size of the last."""
        image = read_image(path, at_least=self._size, bands=self._bands)
        # A JPEG is decoded at a reduced size. Other formats are decoded in full, and reduced here.
        if (factor := min(image.size) // self._size) > 1:
            image = image.reduce(factor)
        levels = [np.asarray(image)]
        while min(image.size) >= 2 * MIN_SIDE:
            image = image.reduce(2)
            levels.append(np.asarray(image))
        return levels
