"""Augmentation of images together with their boxes. Boxes are normalised (cx, cy, w, h); every function is pure.

Randomness is passed in as a NumPy generator. So a sample depends only on the seed and its position in the training.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Int32, UInt8

Boxes = Float32[np.ndarray, "n 4"]

MIN_AREA_KEPT = 0.3  # a box is kept if at least this share of its area is inside the crop
CROP_AREA = (0.5, 1.0)  # of the image; smaller crops often lose the object that the label names
CROP_ASPECT = (3 / 4, 4 / 3)
CROP_TRIES = 5
AREA_RESIZE_RATIO = 1.2  # from this reduction on, a bicubic kernel of four pixels would skip too many
JITTER = 0.2  # of brightness, contrast and saturation

_ROTATIONS = cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE


def use_one_opencv_thread() -> None:
    """Keep OpenCV from starting threads in this process. For pipelines that have threads of their own."""
    cv2.setNumThreads(1)


@dataclass(frozen=True)
class Window:
    """A rectangle of the image in normalised coordinates."""

    x: float
    y: float
    w: float
    h: float


WHOLE_IMAGE = Window(0.0, 0.0, 1.0, 1.0)
SMALLEST_WINDOW = Window(0.0, 0.0, *[math.sqrt(CROP_AREA[0] * CROP_ASPECT[0])] * 2)


def flip_boxes(boxes: Boxes) -> Boxes:
    """Boxes mirrored left to right. This is its own inverse."""
    return boxes * np.array([-1, 1, 1, 1], np.float32) + np.array([1, 0, 0, 0], np.float32)


def rotate_boxes(boxes: Boxes, quarters: int) -> Boxes:
    """Boxes rotated counter-clockwise by quarter turns, as `np.rot90` rotates pixels. `-quarters` is the inverse."""
    for _ in range(quarters % 4):
        cx, cy, w, h = boxes.T
        boxes = np.stack([cy, 1 - cx, h, w], -1)
    return boxes


def crop_boxes(boxes: Boxes, window: Window) -> tuple[Boxes, np.ndarray]:
    """Boxes relative to `window` and clipped to it, and the mask [n] of those with enough of their area left.

    All n boxes are returned, so that the same mask applies to their labels.
    """
    scale, offset = np.array([[window.w, window.h], [window.x, window.y]], np.float32)
    centre, half = (boxes[:, :2] - offset) / scale, boxes[:, 2:] / (2 * scale)
    low, high = (np.minimum(np.maximum(corner, 0), 1) for corner in (centre - half, centre + half))
    size = high - low
    area = 4 * half[:, 0] * half[:, 1]
    kept = (size[:, 0] * size[:, 1] >= MIN_AREA_KEPT * area) & (area > 0)
    return np.concatenate([(low + high) / 2, size], -1), kept


def random_window(rng: np.random.Generator, width: int, height: int) -> Window:
    """A window of random area and aspect ratio (Szegedy et al. 2015), as in torchvision's RandomResizedCrop."""
    area = rng.uniform(*CROP_AREA) * width * height
    aspect = np.exp(rng.uniform(*np.log(CROP_ASPECT)))
    w, h = min(np.sqrt(area * aspect) / width, 1.0), min(np.sqrt(area / aspect) / height, 1.0)
    return Window(rng.uniform(0, 1 - w), rng.uniform(0, 1 - h), w, h)


def random_window_with_object(boxes: Boxes, width: int, height: int, rng: np.random.Generator) -> Window:
    """A random window of an image of `width` x `height` pixels that keeps at least one of its objects.

    A window that loses all objects would leave the image without a label, so it is drawn again. After `CROP_TRIES`
    tries, the whole image is used.
    """
    for _ in range(CROP_TRIES):
        window = random_window(rng, width, height)
        if not len(boxes) or crop_boxes(boxes, window)[1].any():
            return window
    return WHOLE_IMAGE


def required_shorter_side(window: Window, size: int) -> int:
    """The length in pixels that the image's shorter side needs, so that `crop` does not have to enlarge `window`."""
    return math.ceil(size / min(window.w, window.h))


def crop(image: UInt8[np.ndarray, "h w 3"], window: Window, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The pixels in `window`, rounded to whole pixels, resized to a square by `resize`."""
    h, w = image.shape[:2]
    left, top = round(window.x * w), round(window.y * h)
    right, bottom = max(left + 1, round((window.x + window.w) * w)), max(top + 1, round((window.y + window.h) * h))
    return resize(image[top:bottom, left:right], size, size)


def resize(pixels: UInt8[np.ndarray, "h w 3"], height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    """Pixels resized by area averaging if much smaller, else by bicubic interpolation.

    On real images, the mean difference to Pillow's bicubic filter is less than two of 255, and this is faster
    (docs/performance.md).
    """
    shrinks = min(pixels.shape[0] / height, pixels.shape[1] / width) > AREA_RESIZE_RATIO
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def jitter_colours(pixels: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Pixels with random brightness, contrast and saturation, each changed by at most a factor of 1 ± `JITTER`."""
    brightness, contrast, saturation = rng.uniform(1 - JITTER, 1 + JITTER, 3).astype(np.float32)
    x = pixels.astype(np.float32) * brightness
    grey = x @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601 luma, as in Pillow
    x = grey[..., None] + saturation * (x - grey[..., None])
    x = grey.mean() + contrast * (x - grey.mean())
    return np.clip(x + 0.5, 0, 255).astype(np.uint8)


def random_symmetry(rng: np.random.Generator) -> tuple[bool, int]:
    """One of the eight flips and quarter turns, at random: whether to mirror left to right, and the number of
    counter-clockwise quarter turns after that."""
    return bool(rng.random() < 0.5), int(rng.integers(4))


def flip_and_rotate(
    pixels: UInt8[np.ndarray, "s s 3"], boxes: Boxes, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "s s 3"], Boxes]:
    """A square image and its boxes in one of the eight flips and quarter turns, at random."""
    mirrored, quarters = random_symmetry(rng)
    if mirrored:
        pixels, boxes = cv2.flip(pixels, 1), flip_boxes(boxes)
    if quarters:
        pixels = cv2.rotate(pixels, _ROTATIONS[quarters - 1])
    return pixels, rotate_boxes(boxes, quarters)


def augment(
    image: UInt8[np.ndarray, "h w 3"],
    boxes: Boxes,
    labels: Int32[np.ndarray, "n"],
    window: Window,
    size: int,
    rng: np.random.Generator,
    level: str = "full",
) -> tuple[UInt8[np.ndarray, "size size 3"], Float32[np.ndarray, "m 4"], Int32[np.ndarray, "m"]]:
    """The pixels, boxes and labels in `window` (see `random_window_with_object`), augmented according to `level`.

    "none" changes nothing. "flip" applies one of the eight flips and quarter turns, since aerial images have no up or
    down. "full" also changes the colours.
    """
    pixels = crop(image, window, size)
    if window is not WHOLE_IMAGE:
        inside, kept = crop_boxes(boxes, window)
        boxes, labels = inside[kept], labels[kept]
    if level == "none":
        return pixels, boxes, labels
    pixels, boxes = flip_and_rotate(pixels, boxes, rng)
    return (jitter_colours(pixels, rng) if level == "full" else pixels), boxes, labels
