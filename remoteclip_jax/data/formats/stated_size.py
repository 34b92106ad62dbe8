"""In whose pixels boxes are, where an annotation states another size than its image has, or the image was turned.

No single image can tell: a box in the upper left quarter fits both sizes. So a reader collects all images of a split
and asks once:

    sized = [Sized(annotation, image, stated, header.size, header.orientation, boxes) for …]
    for frame in settle_sizes(sized, notes):
        ...  # frame.width, frame.height and frame.boxes are those of `Annotated`

where `header` is `data.images.read_header(image)`, `stated` is (width, height) or None, and `boxes` are
(x, y, width, height) in the file's pixels (COCO's own; VOC's corners less the first one).
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

SAME_SHAPE = 0.02  # a copy at another scale is of the same shape up to this, for whole pixels round
BORDER = 0.01  # of a side, and two pixels: what a careless annotator draws beyond the border proves nothing
STRAYS = 0.02  # nor does this share of the boxes, wherever they lie

TURNED = "images turned by their EXIF orientation whose annotations are of the unturned ones: boxes turned along"
UNSURE = (
    "images turned by their EXIF orientation, and nothing tells whether their boxes were drawn before or after: "
    "taken as drawn on the upright image"
)
SCALED = "images of another size than stated: some boxes lie beyond the image, so all are in stated pixels; scaled"
SCALED_UP = "images larger than stated: no box lies beyond the stated size, so all are in stated pixels; scaled"
LEFT = "images of another size than stated: their boxes fit the image, so they are in its own pixels; left as they are"


@dataclass(frozen=True, eq=False)
class Sized:
    """What is known of one image: the annotation file `source` and the size that it states, if any; the `actual` size
    of the upright image, the EXIF `orientation` (1 to 8) that made it upright, and its boxes."""

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


def settle_sizes(items: Sequence[Sized], notes: Notes) -> list[Frame]:
    """One frame an item, in order.

    Images whose boxes lie beyond the image are annotated in stated pixels; where all boxes fit the smaller of the two
    sizes and reach past its middle, it is that one. One answer holds for all. UserError where nothing tells, where
    images contradict each other, or where an image has another shape than stated.
    """
    turned = _turned(items, notes)
    # From here to the last line images are as they were when their boxes were drawn.
    drawn = [
        dataclasses.replace(item, actual=_exchanged(item.actual)) if turn and item.orientation >= 5 else item
        for item, turn in zip(items, turned, strict=True)
    ]
    own = _in_own_pixels([item for item in drawn if len(item.boxes) and _differs(item)], notes)
    frames = []
    for item, turn in zip(drawn, turned, strict=True):
        size = item.actual if item.stated is None or own or not len(item.boxes) else item.stated
        frames.append(_turn(item.boxes, size, item.orientation) if turn else Frame(*size, item.boxes))
    return frames


def _exchanged(size: Size) -> Size:
    return size[1], size[0]


def _differs(item: Sized) -> bool:
    return item.stated is not None and item.stated != item.actual


def same_shape(a: Size, b: Size) -> bool:
    """Whether one may be a copy of the other at another scale."""
    return abs(a[0] * b[1] - a[1] * b[0]) <= SAME_SHAPE * a[0] * b[1]


def _share_beyond(items: Sequence[Sized], sizes: Sequence[Size]) -> float:
    """The share of all boxes that end clearly beyond the size of their item."""
    beyond = [_ends(item.boxes) > np.array(size) * (1 + BORDER) + 2 for item, size in zip(items, sizes, strict=True)]
    return sum(int(outside.any(-1).sum()) for outside in beyond) / max(1, sum(len(item.boxes) for item in items))


def _ends(boxes: Float64[np.ndarray, "n 4"]) -> Float64[np.ndarray, "n 2"]:
    """The lower right corners."""
    return boxes[:, :2] + boxes[:, 2:]


def _turn(boxes: Float64[np.ndarray, "n 4"], size: Size, orientation: int) -> Frame:
    """Boxes of an image of `size`, turned as its EXIF `orientation` turns it (CIPA DC-008)."""
    (width, height), (x, y, w, h) = size, boxes.T
    if orientation >= 5:
        (width, height), (x, y, w, h) = (height, width), (y, x, h, w)
    if orientation in (2, 3, 6, 7):
        x = width - x - w
    if orientation in (3, 4, 7, 8):
        y = height - y - h
    return Frame(width, height, np.stack([x, y, w, h], -1))


def _turned(items: Sequence[Sized], notes: Notes) -> list[bool]:
    """Whether the boxes of each item were drawn on the image as it is stored, not as its EXIF orientation turns it."""
    known = [_drawn_unturned(item) for item in items]
    told = {verdict for verdict in known if verdict is not None}
    result = []
    for item, verdict in zip(items, known, strict=True):
        if item.orientation == 1 or not len(item.boxes):
            result.append(False)
            continue
        if verdict is None and len(told) != 1:
            notes.add(UNSURE, item.image)
        turn = bool(verdict if verdict is not None else told == {True})
        if turn:
            notes.add(TURNED, item.image)
        result.append(turn)
    return result


def _drawn_unturned(item: Sized) -> bool | None:
    """None where neither the stated size nor the boxes tell: half turns, mirror images and squares look alike."""
    upright, stored = item.actual, _exchanged(item.actual)
    if item.orientation < 5 or upright == stored:
        return None
    if item.stated is None:
        beyond = [bool(_share_beyond([item], [size])) for size in (upright, stored)]
        return beyond[0] if beyond[0] != beyond[1] else None
    if item.stated in (upright, stored):
        return item.stated == stored
    fits = [same_shape(item.stated, size) for size in (upright, stored)]
    return fits[1] if fits[0] != fits[1] else None


def _in_own_pixels(items: Sequence[Sized], notes: Notes) -> bool:
    """Whether the boxes of `items`, which have another size than stated, are in the images' own pixels."""
    if not items:
        return False
    reduced: list[Sized] = []
    enlarged: list[Sized] = []
    reshaped: list[Sized] = []
    for item in items:
        own, stated = item.actual, item.stated or item.actual
        scaled = enlarged if own[0] * own[1] > stated[0] * stated[1] else reduced
        (scaled if same_shape(own, stated) else reshaped).append(item)
    answers = {
        _not(_in_larger(reduced, [item.actual for item in reduced])),
        _in_larger(enlarged, [item.stated or item.actual for item in enlarged]),
        _in_reshaped(reshaped),
    } - {None}
    if answers == {True}:
        for item in items:
            notes.add(LEFT, item.image)
        return True
    if reshaped:
        raise UserError(f"{_sizes(reshaped[0])}: give the image that was annotated, or correct its stated size")
    if not answers:
        raise UserError(f"{_sizes(items[0])}, and its boxes fit both, as in {len(items)} images: {_REMEDY}")
    if len(answers) > 1:
        raise UserError(f"{_sizes(items[0])}, and {len(items)} such images contradict each other: {_REMEDY}")
    for group, note in ((reduced, SCALED), (enlarged, SCALED_UP)):
        for item in group:
            notes.add(note, item.image)
    return False


_REMEDY = "correct the stated size, or leave it out where boxes are in the image's own pixels"


def _sizes(item: Sized) -> str:
    (w, h), (width, height) = item.stated or item.actual, item.actual
    return f"{item.source}: says {w}x{h} pixels for {item.image}, which has {width}x{height}"


def _not(answer: bool | None) -> bool | None:
    return None if answer is None else not answer


def _in_larger(items: Sequence[Sized], smaller: Sequence[Size]) -> bool | None:
    """Whether boxes are in the larger of two sizes, of which `smaller` is the other; None where they do not tell."""
    if _share_beyond(items, smaller) > STRAYS:
        return True
    reach = any((2 * _ends(item.boxes) > size).any() for item, size in zip(items, smaller, strict=True))
    return False if reach else None


def _in_reshaped(items: Sequence[Sized]) -> bool | None:
    """The same for images of another shape than stated: their own pixels, or unknown."""
    beyond = [_share_beyond(items, [getattr(item, name) for item in items]) for name in ("actual", "stated")]
    return True if beyond[0] <= STRAYS < beyond[1] else None
