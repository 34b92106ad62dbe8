"""The size that boxes refer to, if an annotation states another size than its image has, or if the image was rotated.

A single image does not show this: a box in the upper left quarter fits both sizes. So a reader collects all images of a
split, and then decides for all of them:

    sized = [SizedImage(annotation, image, stated, header.size, header.orientation, boxes) for …]
    for frame in resolve_frames(sized, notes):
        ...  # frame.width, frame.height and frame.boxes are those of `Annotations`

Here `header` is `data.images.read_header(image)`, `stated` is (width, height) or None, and `boxes` are
(x, y, width, height) in the file's pixels (for COCO as they are; for VOC, corners converted to sizes).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from remoteclip_jax.data.notes import Notes
from remoteclip_jax.errors import UserError

Size = tuple[int, int]  # width, height

ASPECT_TOLERANCE = 0.02  # a copy at another scale may differ by this much, since sizes are rounded to whole pixels
BORDER_TOLERANCE = 0.01  # of a side, plus two pixels; annotators often draw slightly beyond the border
OUTLIER_SHARE = 0.02  # of the boxes; this share may be anywhere without proving anything

ROTATED = "images rotated by their EXIF orientation, with annotations of the unrotated image: boxes rotated too"
UNSURE = (
    "images rotated by their EXIF orientation, and it is unclear whether their boxes were drawn before or after: "
    "read as drawn on the upright image"
)
SCALED = "images of another size than stated: some boxes lie beyond the image, so all are in stated pixels; scaled"
SCALED_UP = "images larger than stated: no box lies beyond the stated size, so all are in stated pixels; scaled"
UNSCALED = (
    "images of another size than stated: their boxes fit the image, so they are in its own pixels; left as they are"
)


@dataclass(frozen=True, eq=False)
class SizedImage:
    """An image with its sizes and boxes.

    `source` is the annotation file, and `stated` the size that it states, if any. `actual` is the size of the upright
    image, `orientation` the EXIF orientation (1 to 8) that made it upright.
    """

    source: Path
    image: Path
    stated: Size | None
    actual: Size
    orientation: int
    boxes: Float64[np.ndarray, "n 4"]


@dataclass(frozen=True, eq=False)
class Frame:
    """Boxes (x, y, width, height) in pixels of an upright image of `width` x `height`."""

    width: int
    height: int
    boxes: Float64[np.ndarray, "n 4"]


def resolve_frames(items: Sequence[SizedImage], notes: Notes) -> list[Frame]:
    """The frame of each item, in order.

    If boxes lie beyond the image, they are in stated pixels. If all boxes fit the smaller of the two sizes and reach
    past its middle, they refer to that size. The same answer holds for all items. UserError if nothing decides it, if
    images contradict each other, or if an image has another aspect ratio than stated.
    """
    unrotated = _drawn_on_stored_images(items, notes)
    # In `items_as_drawn`, images have the orientation in which their boxes were drawn.
    items_as_drawn = [
        dataclasses.replace(item, actual=_swapped(item.actual)) if rotate and item.orientation >= 5 else item
        for item, rotate in zip(items, unrotated, strict=True)
    ]
    own = _in_own_pixels([item for item in items_as_drawn if len(item.boxes) and _differs(item)], notes)
    frames = []
    for item, rotate in zip(items_as_drawn, unrotated, strict=True):
        size = item.actual if item.stated is None or own or not len(item.boxes) else item.stated
        frames.append(_rotated_frame(item.boxes, size, item.orientation) if rotate else Frame(*size, item.boxes))
    return frames


def _swapped(size: Size) -> Size:
    return size[1], size[0]


def _differs(item: SizedImage) -> bool:
    return item.stated is not None and item.stated != item.actual


def same_aspect_ratio(a: Size, b: Size) -> bool:
    """Whether one size may be that of a copy of the other at another scale."""
    return abs(a[0] * b[1] - a[1] * b[0]) <= ASPECT_TOLERANCE * a[0] * b[1]


def _share_beyond(items: Sequence[SizedImage], sizes: Sequence[Size]) -> float:
    """The share of all boxes that end clearly beyond the size given for their item."""
    beyond = [
        _lower_right(item.boxes) > np.array(size) * (1 + BORDER_TOLERANCE) + 2
        for item, size in zip(items, sizes, strict=True)
    ]
    return sum(int(outside.any(-1).sum()) for outside in beyond) / max(1, sum(len(item.boxes) for item in items))


def _lower_right(boxes: Float64[np.ndarray, "n 4"]) -> Float64[np.ndarray, "n 2"]:
    """The lower right corners (x, y) of boxes."""
    return boxes[:, :2] + boxes[:, 2:]


def _rotated_frame(boxes: Float64[np.ndarray, "n 4"], size: Size, orientation: int) -> Frame:
    """Boxes of an image of `size`, rotated as the EXIF `orientation` rotates the image (CIPA DC-008)."""
    (width, height), (x, y, w, h) = size, boxes.T
    if orientation >= 5:
        (width, height), (x, y, w, h) = (height, width), (y, x, h, w)
    if orientation in (2, 3, 6, 7):
        x = width - x - w
    if orientation in (3, 4, 7, 8):
        y = height - y - h
    return Frame(width, height, np.stack([x, y, w, h], -1))


def _drawn_on_stored_images(items: Sequence[SizedImage], notes: Notes) -> list[bool]:
    """For each item, whether its boxes were drawn on the image as stored, before its EXIF orientation is applied."""
    verdicts = [_drawn_on_stored_image(item) for item in items]
    decided = {verdict for verdict in verdicts if verdict is not None}
    result = []
    for item, verdict in zip(items, verdicts, strict=True):
        if item.orientation == 1 or not len(item.boxes):
            result.append(False)
            continue
        if verdict is None and len(decided) != 1:
            notes.add(UNSURE, item.image)
        rotate = bool(verdict if verdict is not None else decided == {True})
        if rotate:
            notes.add(ROTATED, item.image)
        result.append(rotate)
    return result


def _drawn_on_stored_image(item: SizedImage) -> bool | None:
    """The same for one item. None if neither the stated size nor the boxes decide it: half turns, reflections and
    square images keep the size."""
    upright, stored = item.actual, _swapped(item.actual)
    if item.orientation < 5 or upright == stored:
        return None
    if item.stated is None:
        beyond = [bool(_share_beyond([item], [size])) for size in (upright, stored)]
        return beyond[0] if beyond[0] != beyond[1] else None
    if item.stated in (upright, stored):
        return item.stated == stored
    fits = [same_aspect_ratio(item.stated, size) for size in (upright, stored)]
    return fits[1] if fits[0] != fits[1] else None


def _in_own_pixels(items: Sequence[SizedImage], notes: Notes) -> bool:
    """Whether the boxes of `items`, whose images have another size than stated, are in the images' own pixels."""
    if not items:
        return False
    reduced: list[SizedImage] = []
    enlarged: list[SizedImage] = []
    reshaped: list[SizedImage] = []
    for item in items:
        own, stated = item.actual, item.stated or item.actual
        scaled = enlarged if own[0] * own[1] > stated[0] * stated[1] else reduced
        (scaled if same_aspect_ratio(own, stated) else reshaped).append(item)
    answers = {
        _negated(_in_larger(reduced, [item.actual for item in reduced])),
        _in_larger(enlarged, [item.stated or item.actual for item in enlarged]),
        _in_reshaped(reshaped),
    } - {None}
    if answers == {True}:
        for item in items:
            notes.add(UNSCALED, item.image)
        return True
    if reshaped:
        raise UserError(f"{_size_conflict(reshaped[0])}: give the image that was annotated, or correct its stated size")
    if not answers:
        raise UserError(f"{_size_conflict(items[0])}, and its boxes fit both, as in {len(items)} images: {_REMEDY}")
    if len(answers) > 1:
        raise UserError(f"{_size_conflict(items[0])}, and {len(items)} such images contradict each other: {_REMEDY}")
    for group, note in ((reduced, SCALED), (enlarged, SCALED_UP)):
        for item in group:
            notes.add(note, item.image)
    return False


_REMEDY = "correct the stated size, or leave it out where boxes are in the image's own pixels"


def _size_conflict(item: SizedImage) -> str:
    (w, h), (width, height) = item.stated or item.actual, item.actual
    return f"{item.source}: says {w}x{h} pixels for {item.image}, which has {width}x{height}"


def _negated(answer: bool | None) -> bool | None:
    return None if answer is None else not answer


def _in_larger(items: Sequence[SizedImage], smaller: Sequence[Size]) -> bool | None:
    """Whether boxes refer to the larger of two sizes, where `smaller` is the other one. None if this is undecided."""
    if _share_beyond(items, smaller) > OUTLIER_SHARE:
        return True
    reach = any((2 * _lower_right(item.boxes) > size).any() for item, size in zip(items, smaller, strict=True))
    return False if reach else None


def _in_reshaped(items: Sequence[SizedImage]) -> bool | None:
    """For images of another aspect ratio than stated: True if the boxes are in the images' own pixels, None if this is
    undecided."""
    actual, stated = (_share_beyond(items, [getattr(item, name) for item in items]) for name in ("actual", "stated"))
    return True if actual <= OUTLIER_SHARE < stated else None
