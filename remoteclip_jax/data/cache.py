"""Decoded images and their halves, kept in memory as long as there is room: decoding, and averaging down what is seen
from afar, are most of the work of a small data set."""

from pathlib import Path

from PIL import Image

from remoteclip_jax.data.images import read_image

LIMIT = 4 * 2**30  # bytes
LEAST = 64  # pixels


class ImageCache:
    """Reads images of at most `size` pixels a side, reduced where the file has more; the first ones that fit into
    `limit` bytes are read once, and kept whole, at half their size, at a quarter and so on down to `LEAST` pixels.
    Threads may share it: at worst two of them read the same image."""

    def __init__(self, size: int, limit: int = LIMIT) -> None:
        self._size, self._left = size, limit
        self._images: dict[Path, list[Image.Image]] = {}

    def read(self, path: Path, at_least: int) -> Image.Image:
        """The image in RGB, its shorter side of at least `at_least` pixels or the file's own. UserError as from
        `read_image`."""
        kept = self._images.get(path)
        if kept is not None:
            return next((image for image in reversed(kept) if min(image.size) >= at_least), kept[0])
        if self._left <= 0:
            return read_image(path, at_least=at_least)
        image = read_image(path, at_least=self._size)
        levels = [image]
        while min(levels[-1].size) >= 2 * LEAST:
            levels.append(levels[-1].reduce(2))
        self._left -= sum(3 * level.width * level.height for level in levels)
        self._images[path] = levels
        return image
