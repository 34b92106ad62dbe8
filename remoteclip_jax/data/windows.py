"""Square windows of an image, the input of the detector. A window may reach beyond the image's border."""

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from remoteclip_jax.data.transforms import Window, resize

PADDING = (122, 117, 104)  # CLIP's mean colour, which normalisation maps to zero
MAX_FILL = 0.9  # the box around which a window is placed takes at most this share of its side

Corners = tuple[float, float, float, float]  # left, top, right, bottom
Placement = tuple[tuple[int, int], tuple[int, int]]  # (left, top), (right, bottom) in pixels of the result


def enclosing_square(width: int, height: int) -> Window:
    """The smallest square that contains the image, with the image in its upper left corner."""
    side = max(width, height)
    return Window(0.0, 0.0, side / width, side / height)


def random_square(width: int, height: int, zoom: float, rng: np.random.Generator) -> Window:
    """A random square whose side is the image's longer side divided by `zoom`. If the square is larger than the image,
    it contains the image at a random position."""
    side = max(width, height) / zoom
    x, y = (rng.uniform(min(0, length - side), max(0, length - side)) for length in (width, height))
    return Window(x / width, y / height, side / width, side / height)


def random_square_around(
    box: Float32[np.ndarray, "4"], width: int, height: int, zoom: float, rng: np.random.Generator
) -> Window:
    """A random square that contains all of `box` (normalised centre and size): at `zoom`, or at a smaller zoom if the
    box is too large for that; inside the image as far as possible."""
    length = max(width, height)
    centre, size = box[:2] * (width, height), box[2:] * (width, height)
    side = max(length / zoom, float(size.max()) / MAX_FILL)
    corner = []
    for c, s, limit in zip(centre, size, (width, height), strict=True):
        low, high = c + s / 2 - side, c - s / 2  # the range of corners for which the box is inside
        inside_image = max(low, min(0.0, limit - side)), min(high, max(0.0, limit - side))
        corner.append(rng.uniform(*(inside_image if inside_image[0] <= inside_image[1] else (low, high))))
    return Window(corner[0] / width, corner[1] / height, side / width, side / height)


def rounded_window(window: Window, width: int, height: int) -> Window:
    """A square window rounded to whole pixels of an image of `width` x `height`; it contains at least one of them."""
    side = max(1, round(window.w * width))
    left = min(max(round(window.x * width), 1 - side), width - 1)
    top = min(max(round(window.y * height), 1 - side), height - 1)
    return Window(left / width, top / height, side / width, side / height)


def crop_square(image: UInt8[np.ndarray, "h w 3"], window: Window, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The pixels in a square `window`, which is rounded to whole pixels, resized to `size` pixels (see
    `transforms.resize`), with `PADDING` outside the image."""
    inner, placement = _visible_part(window, image.shape[1], image.shape[0], size)
    (left, top), (right, bottom) = placement
    x1, y1, x2, y2 = (round(v) for v in inner)
    x1, y1 = min(x1, image.shape[1] - 1), min(y1, image.shape[0] - 1)
    part = image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
    return _padded(resize(part, bottom - top, right - left), placement, size)


def _visible_part(window: Window, width: int, height: int, size: int) -> tuple[Corners, Placement]:
    """The part of a square `window` inside the image, in the image's pixels, and its placement in the result of `size`
    pixels, in whole pixels and at least one."""
    side = window.w * width
    left, top = window.x * width, window.y * height
    inner = max(left, 0.0), max(top, 0.0), min(left + side, width), min(top + side, height)
    x1, y1, x2, y2 = (round((v - o) * size / side) for v, o in zip(inner, (left, top, left, top), strict=True))
    x1, y1 = min(x1, size - 1), min(y1, size - 1)
    return inner, ((x1, y1), (max(x2, x1 + 1), max(y2, y1 + 1)))


def _padded(part: UInt8[np.ndarray, "h w 3"], placement: Placement, size: int) -> UInt8[np.ndarray, "size size 3"]:
    if part.shape[:2] == (size, size):
        return part
    (left, top), (right, bottom) = placement
    out = np.empty((size, size, 3), np.uint8)
    out[:] = PADDING
    out[top:bottom, left:right] = part
    return out


def window_pyramid(image: Image.Image, window: Window, views: tuple[int, ...]) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """A square `window` of the image at each of `views` pixels, in the way of training's windows. A huge image is not
    copied as it is: its pixels are averaged first, to twice as many as the finest view needs."""
    reduction = int(min(window.w * image.width, *image.size) / (2 * max(views)))
    if reduction >= 2:
        width, height = (round(length / reduction) for length in image.size)
        image = image.resize((width, height), Image.Resampling.BOX)
    pixels = np.asarray(image)
    return [crop_square(pixels, window, view) for view in views]


def image_pyramid(image: Image.Image, views: tuple[int, ...]) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """The whole image, padded to a square, at each of `views` pixels."""
    return window_pyramid(image, enclosing_square(*image.size), views)


def square_to_pixels(boxes: Float32[np.ndarray, "n 4"], width: int, height: int) -> Float32[np.ndarray, "n 4"]:
    """Boxes in pixels of the image, clipped to it, from corners in [0, 1] of `enclosing_square`."""
    limits = np.array([width, height, width, height], np.float32)
    return np.clip(boxes * max(width, height), 0, limits).astype(np.float32)
