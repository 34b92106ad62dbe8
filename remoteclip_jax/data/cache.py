"""Decoded images, kept in memory as long as there is room: decoding is most of the work of a small data set."""

from pathlib import Path

from PIL import Image

from remoteclip_jax.data.images import read_image

LIMIT = 3 * 2**30  # bytes


class ImageCache:
    """Reads images of at most `size` pixels a side, reduced where the file has more; the first ones that fit into
    `limit` bytes are read once. Threads may share it: at worst two of them read the same image."""

    def __init__(self, size: int, limit: int = LIMIT) -> None:
        self._size, self._left = size, limit
        self._images: dict[Path, Image.Image] = {}

    def read(self, path: Path, at_least: int) -> Image.Image:
        """The image in RGB, its shorter side of at least `at_least` pixels or the file's own. UserError as from
        `read_image`."""
        kept = self._images.get(path)
        if kept is not None:
            return kept
        if self._left <= 0:
            return read_image(path, at_least=at_least)
        image = read_image(path, at_least=self._size)
        self._left -= 3 * image.width * image.height
        self._images[path] = image
        return image
