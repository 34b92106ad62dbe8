"""Augmentation in which boxes follow the pixels. Boxes are normalised (cx, cy, w, h); every function is pure.

Randomness comes in as a NumPy generator, so that a sample depends on the seed and its place in the training alone.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Int32, UInt8

Boxes = Float32[np.ndarray, "n 4"]

KEPT_AREA = 0.3  # a box stays after a crop when this share of it is still in the picture
CROP_AREA = (0.5, 1.0)  # of the image; smaller crops lose the object that the label is about
CROP_ASPECT = (3 / 4, 4 / 3)
CROP_TRIES = 5
MUCH_SMALLER = 1.2  # times, from which four pixels of a bicubic kernel would leave out too many
JITTER = 0.2  # of brightness, contrast and saturation

_TURNS = cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE


def opencv_in_one_thread() -> None:
    """From now on OpenCV starts no threads in this process: for readers that have threads of their own."""
    cv2.setNumThreads(1)


@dataclass(frozen=True)
class Window:
    """A rectangle of the image in normalised coordinates."""

    x: float
    y: float
    w: float
    h: float


WHOLE = Window(0.0, 0.0, 1.0, 1.0)
SMALLEST_WINDOW = Window(0.0, 0.0, *[math.sqrt(CROP_AREA[0] * CROP_ASPECT[0])] * 2)


def flip_boxes(boxes: Boxes) -> Boxes:
    """Mirrored left to right; its own inverse."""
    return boxes * np.array([-1, 1, 1, 1], np.float32) + np.array([1, 0, 0, 0], np.float32)


def turn_boxes(boxes: Boxes, quarters: int) -> Boxes:
    """Turned counter-clockwise by quarter turns, as `np.rot90` turns pixels; `-quarters` is the inverse."""
    for _ in range(quarters % 4):
        cx, cy, w, h = boxes.T
        boxes = np.stack([cy, 1 - cx, h, w], -1)
    return boxes


def crop_boxes(boxes: Boxes, window: Window) -> tuple[Boxes, np.ndarray]:
    """Boxes of the picture that `window` cuts out, clipped to it, and the mask [n] of those worth keeping.

    All n boxes come back, so that labels can be masked alike.
    """
    scale, offset = np.array([[window.w, window.h], [window.x, window.y]], np.float32)
    centre, half = (boxes[:, :2] - offset) / scale, boxes[:, 2:] / (2 * scale)
    low, high = (np.minimum(np.maximum(corner, 0), 1) for corner in (centre - half, centre + half))
    size = high - low
    area = 4 * half[:, 0] * half[:, 1]
    kept = (size[:, 0] * size[:, 1] >= KEPT_AREA * area) & (area > 0)
    return np.concatenate([(low + high) / 2, size], -1), kept


def random_window(rng: np.random.Generator, width: int, height: int) -> Window:
    """A window of random area and aspect (Szegedy et al. 2015), as torchvision's RandomResizedCrop draws it."""
    area = rng.uniform(*CROP_AREA) * width * height
    aspect = np.exp(rng.uniform(*np.log(CROP_ASPECT)))
    w, h = min(np.sqrt(area * aspect) / width, 1.0), min(np.sqrt(area / aspect) / height, 1.0)
    return Window(rng.uniform(0, 1 - w), rng.uniform(0, 1 - h), w, h)


def choose_window(boxes: Boxes, width: int, height: int, rng: np.random.Generator) -> Window:
    """A random window of an image of `width` x `height` pixels that keeps at least one of its objects.

    One that would lose them all is drawn again, and after a few tries given up for the whole image, which would
    otherwise have no label.
    """
    for _ in range(CROP_TRIES):
        window = random_window(rng, width, height)
        if not len(boxes) or crop_boxes(boxes, window)[1].any():
            return window
    return WHOLE


def pixels_needed(window: Window, size: int) -> int:
    """How long the image's shorter side must be, so that `cut` need not enlarge what is in `window`."""
    return math.ceil(size / min(window.w, window.h))


def cut(image: UInt8[np.ndarray, "h w 3"], window: Window, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The pixels in `window`, which is rounded to whole ones, resized to a square by `resize`."""
    h, w = image.shape[:2]
    left, top = round(window.x * w), round(window.y * h)
    right, bottom = max(left + 1, round((window.x + window.w) * w)), max(top + 1, round((window.y + window.h) * h))
    return resize(image[top:bottom, left:right], size, size)


def resize(pixels: UInt8[np.ndarray, "h w 3"], height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    """Averaged over their area where much smaller, else by bicubic interpolation. On real images in the mean less than
    two of 255 away from Pillow's bicubic filter, and faster (docs/performance.md)."""
    shrinks = min(pixels.shape[0] / height, pixels.shape[1] / width) > MUCH_SMALLER
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def jitter_colours(pixels: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Random brightness, contrast and saturation, each within ±`JITTER`."""
    brightness, contrast, saturation = rng.uniform(1 - JITTER, 1 + JITTER, 3).astype(np.float32)
    x = pixels.astype(np.float32) * brightness
    grey = x @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601 luma, as Pillow
    x = grey[..., None] + saturation * (x - grey[..., None])
    x = grey.mean() + contrast * (x - grey.mean())
    return np.clip(x + 0.5, 0, 255).astype(np.uint8)


def flip_and_turn(
    pixels: UInt8[np.ndarray, "s s 3"], boxes: Boxes, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "s s 3"], Boxes]:
    """One of the eight flips and quarter turns of a square picture and its boxes."""
    if rng.random() < 0.5:
        pixels, boxes = cv2.flip(pixels, 1), flip_boxes(boxes)
    quarters = int(rng.integers(4))
    if quarters:
        pixels = cv2.rotate(pixels, _TURNS[quarters - 1])
    return pixels, turn_boxes(boxes, quarters)


def augment(
    image: UInt8[np.ndarray, "h w 3"],
    boxes: Boxes,
    labels: Int32[np.ndarray, "n"],
    window: Window,
    size: int,
    rng: np.random.Generator,
    level: str = "full",
) -> tuple[UInt8[np.ndarray, "size size 3"], Float32[np.ndarray, "m 4"], Int32[np.ndarray, "m"]]:
    """What is in `window` (see `choose_window`), changed as `level` says.

    "none" leaves it as it is; "flip" takes one of the eight flips and quarter turns, for there is no up or down in an
    aerial image; "full" changes its colours besides.
    """
    pixels = cut(image, window, size)
    if window is not WHOLE:
        inside, kept = crop_boxes(boxes, window)
        boxes, labels = inside[kept], labels[kept]
    if level == "none":
        return pixels, boxes, labels
    pixels, boxes = flip_and_turn(pixels, boxes, rng)
    return (jitter_colours(pixels, rng) if level == "full" else pixels), boxes, labels
