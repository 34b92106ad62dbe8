"""Square windows of an image, which may reach beyond its border: what the detector sees in training and afterwards."""

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from remoteclip_jax.data.transforms import Window

PADDING = (122, 117, 104)  # CLIP's mean colour: zero after normalisation
REDUCING_GAP = 1.0  # Pillow's: much larger images are averaged down first, which looks nearly the same and is faster
FILLED = 0.9  # at most this share of a window's side is the box that it is drawn around


def whole_square(width: int, height: int) -> Window:
    """The smallest square that holds the image, which lies in its upper left corner."""
    side = max(width, height)
    return Window(0.0, 0.0, side / width, side / height)


def random_square(width: int, height: int, zoom: float, rng: np.random.Generator) -> Window:
    """A random square whose side is the image's longer side over `zoom`. Where the square is larger than the image, the
    image lies somewhere in it."""
    side = max(width, height) / zoom
    x, y = (rng.uniform(min(0, length - side), max(0, length - side)) for length in (width, height))
    return Window(x / width, y / height, side / width, side / height)


def square_around(
    box: Float32[np.ndarray, "4"], width: int, height: int, zoom: float, rng: np.random.Generator
) -> Window:
    """A random square that holds `box` (normalised centre and size) whole: at `zoom`, or a smaller one where the box is
    too large for it; within the image as far as it can be."""
    length = max(width, height)
    centre, size = box[:2] * (width, height), box[2:] * (width, height)
    side = max(length / zoom, float(size.max()) / FILLED)
    corner = []
    for c, s, limit in zip(centre, size, (width, height), strict=True):
        low, high = c + s / 2 - side, c - s / 2  # the box stays inside
        inner = max(low, min(0.0, limit - side)), min(high, max(0.0, limit - side))
        corner.append(rng.uniform(*(inner if inner[0] <= inner[1] else (low, high))))
    return Window(corner[0] / width, corner[1] / height, side / width, side / height)


def cut_square(image: Image.Image, window: Window, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The pixels in a square `window`, resized by Pillow's bicubic filter; `PADDING` where there is no image."""
    width, height = image.size
    side = window.w * width
    left, top = window.x * width, window.y * height
    right, bottom = min(left + side, width), min(top + side, height)
    inner = max(left, 0.0), max(top, 0.0), right, bottom
    # Where the visible part lies in the result, in whole pixels; at least one.
    place = [round((v - o) * size / side) for v, o in zip(inner, (left, top, left, top), strict=True)]
    x1, y1 = min(place[0], size - 1), min(place[1], size - 1)
    x2, y2 = max(place[2], x1 + 1), max(place[3], y1 + 1)
    part = image.resize((x2 - x1, y2 - y1), Image.Resampling.BICUBIC, box=inner, reducing_gap=REDUCING_GAP)
    if (x1, y1, x2, y2) == (0, 0, size, size):
        return np.asarray(part)
    out = np.empty((size, size, 3), np.uint8)
    out[:] = PADDING
    out[y1:y2, x1:x2] = np.asarray(part)
    return out


def whole_squares(image: Image.Image, views: tuple[int, ...]) -> list[UInt8[np.ndarray, "v v 3"]]:
    """The whole image in a square of each of `views` pixels."""
    return [cut_square(image, whole_square(*image.size), view) for view in views]


def from_square(boxes: Float32[np.ndarray, "n 4"], width: int, height: int) -> Float32[np.ndarray, "n 4"]:
    """Corners in [0, 1] of `whole_square` to pixels of the image, clipped to it."""
    limits = np.array([width, height, width, height], np.float32)
    return np.clip(boxes * max(width, height), 0, limits).astype(np.float32)
