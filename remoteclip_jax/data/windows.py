"""Square windows of an image, which may reach beyond its border: what the detector sees in training and afterwards."""

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from remoteclip_jax.data.transforms import Window, resize

PADDING = (122, 117, 104)  # CLIP's mean colour: zero after normalisation
REDUCING_GAP = 1.0  # Pillow's: much larger images are averaged down first, which looks nearly the same and is faster
FILLED = 0.9  # at most this share of a window's side is the box that it is drawn around

Corners = tuple[float, float, float, float]  # left, top, right, bottom
Place = tuple[tuple[int, int], tuple[int, int]]


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


def whole_pixels(window: Window, width: int, height: int) -> Window:
    """A square window moved and sized to whole pixels of an image of `width` x `height`, at least one of them in it."""
    side = max(1, round(window.w * width))
    left = min(max(round(window.x * width), 1 - side), width - 1)
    top = min(max(round(window.y * height), 1 - side), height - 1)
    return Window(left / width, top / height, side / width, side / height)


def cut_square(image: Image.Image, window: Window, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The pixels in a square `window`, resized by Pillow's bicubic filter; `PADDING` where there is no image."""
    inner, place = _visible(window, *image.size, size)
    (left, top), (right, bottom) = place
    part = image.resize((right - left, bottom - top), Image.Resampling.BICUBIC, box=inner, reducing_gap=REDUCING_GAP)
    return _padded(np.asarray(part), place, size)


def cut_square_for_training(
    image: UInt8[np.ndarray, "h w 3"], window: Window, size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """The same for a window of whole pixels, by the faster filters of `resize`."""
    inner, place = _visible(window, image.shape[1], image.shape[0], size)
    (left, top), (right, bottom) = place
    x1, y1, x2, y2 = (round(v) for v in inner)
    return _padded(resize(image[y1:y2, x1:x2], bottom - top, right - left), place, size)


def _visible(window: Window, width: int, height: int, size: int) -> tuple[Corners, Place]:
    """What of a square `window` lies in the image, in the image's pixels, and where it lies in the result of `size`
    pixels: in whole ones, at least one."""
    side = window.w * width
    left, top = window.x * width, window.y * height
    inner = max(left, 0.0), max(top, 0.0), min(left + side, width), min(top + side, height)
    x1, y1, x2, y2 = (round((v - o) * size / side) for v, o in zip(inner, (left, top, left, top), strict=True))
    x1, y1 = min(x1, size - 1), min(y1, size - 1)
    return inner, ((x1, y1), (max(x2, x1 + 1), max(y2, y1 + 1)))


def _padded(part: UInt8[np.ndarray, "h w 3"], place: Place, size: int) -> UInt8[np.ndarray, "size size 3"]:
    if part.shape[:2] == (size, size):
        return part
    (left, top), (right, bottom) = place
    out = np.empty((size, size, 3), np.uint8)
    out[:] = PADDING
    out[top:bottom, left:right] = part
    return out


def whole_squares(image: Image.Image, views: tuple[int, ...]) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """The whole image in a square of each of `views` pixels."""
    return [cut_square(image, whole_square(*image.size), view) for view in views]


def from_square(boxes: Float32[np.ndarray, "n 4"], width: int, height: int) -> Float32[np.ndarray, "n 4"]:
    """Corners in [0, 1] of `whole_square` to pixels of the image, clipped to it."""
    limits = np.array([width, height, width, height], np.float32)
    return np.clip(boxes * max(width, height), 0, limits).astype(np.float32)
