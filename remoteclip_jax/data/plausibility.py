"""Checks for boxes in the wrong convention: corners in place of sizes, fractions in place of pixels, and so on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64

from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError

Boxes = Float64[np.ndarray, "n 4"]
Sizes = Float64[np.ndarray, "n 2"]  # (width, height) of the image of each box

FAR_OUTSIDE = 0.5  # of the image's side; objects cut off by tiling a scene reach less far beyond the border
BORDER_SLACK = 0.01  # of the image's side; a correct box may reach this far beyond the border
NEARLY_ALL = 0.95  # share of the boxes
MIN_BOXES = 10  # fewer boxes do not show whether nearly all are wrong
MANY = 0.25  # share of the boxes; corners read as sizes stay inside the image for objects in its upper left


@dataclass(frozen=True)
class BoxConvention:
    """A way to write a box as four numbers, with the conversion to (x, y, width, height) in pixels and back."""

    description: str
    to_pixels: Callable[[Boxes, Sizes], Boxes]
    from_pixels: Callable[[Boxes, Sizes], Boxes]


def _repeated(sizes: Sizes) -> Boxes:
    return np.concatenate([sizes, sizes], 1)


def _to_corners(b: Boxes) -> Boxes:
    return np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], 1)


def _from_corners(b: Boxes) -> Boxes:
    return np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], 1)


def _to_centre(b: Boxes) -> Boxes:
    return np.concatenate([b[:, :2] + b[:, 2:] / 2, b[:, 2:]], 1)


def _from_centre(b: Boxes) -> Boxes:
    return np.concatenate([b[:, :2] - b[:, 2:] / 2, b[:, 2:]], 1)


BOX_CONVENTIONS = {
    "xywh": BoxConvention("x, y, width, height in pixels", lambda b, s: b, lambda b, s: b),
    "corners": BoxConvention("corners in pixels", lambda b, s: _from_corners(b), lambda b, s: _to_corners(b)),
    "centre": BoxConvention("centre and size in pixels", lambda b, s: _from_centre(b), lambda b, s: _to_centre(b)),
    "xywh_fractions": BoxConvention(
        "x, y, width, height as fractions of the image", lambda b, s: b * _repeated(s), lambda b, s: b / _repeated(s)
    ),
    "corner_fractions": BoxConvention(
        "corners as fractions of the image",
        lambda b, s: _from_corners(b) * _repeated(s),
        lambda b, s: _to_corners(b / _repeated(s)),
    ),
    "centre_fractions": BoxConvention(
        "centre and size as fractions of the image",
        lambda b, s: _from_centre(b) * _repeated(s),
        lambda b, s: _to_centre(b / _repeated(s)),
    ),
}
FORMAT_CONVENTIONS = {"coco": "xywh", "dior": "corners", "yolo": "centre_fractions", "dota": "corners"}


def check_box_plausibility(dataset: Dataset, dataset_format: str, data_dir: Path) -> tuple[str, ...]:
    """Notes on boxes that reach far beyond their images or have a side under a pixel.

    Boxes are checked as the files have them. UserError if many are implausible in the convention of `dataset_format`
    and nearly all would be plausible in another; the message names that convention. UserError also if nearly all are
    far off.
    """
    boxes, sizes, names = _all_boxes(dataset)
    if not len(boxes):
        return ()
    native = BOX_CONVENTIONS[FORMAT_CONVENTIONS[dataset_format]]
    plausible, numbers = _plausible(boxes, sizes), native.from_pixels(boxes, sizes)
    wrong = int((~plausible).sum())
    where = f"{data_dir}: of the {len(boxes)} boxes of the split {dataset.split!r}, {wrong} are implausible"
    if wrong >= MANY * len(boxes):
        shares = ((_plausible_share(c, numbers, sizes), c) for c in BOX_CONVENTIONS.values())
        share, other = max(shares, key=lambda pair: pair[0])
        if share >= NEARLY_ALL and other is not native:
            raise UserError(
                f"{where} (first in {names[int(plausible.argmin())]}): this format has {native.description}, and the "
                f"numbers look like {other.description}; write them as {native.description}"
            )
    far, tiny = _far_outside(boxes, sizes), np.asarray(((boxes[:, 2:] > 0) & (boxes[:, 2:] < 1)).any(1))
    empty = _empty(boxes, sizes)
    if len(boxes) >= MIN_BOXES and (far | tiny | empty).mean() >= NEARLY_ALL:
        raise UserError(
            f"{where}: they reach far beyond their images or are under a pixel; this format has {native.description}"
        )
    return (
        *_count_note(dataset.split, far & ~empty, names, "boxes reach far beyond their images"),
        *_count_note(dataset.split, tiny, names, "boxes have a side under a pixel"),
    )


def _all_boxes(dataset: Dataset) -> tuple[Boxes, Sizes, list[str]]:
    """All boxes as the files have them, with the size and the name of the image of each."""
    images = [(example.image.name, a) for example in dataset.examples if (a := example.annotations) is not None]
    boxes = [a.boxes for _, a in images]
    sizes = [np.tile([[float(a.width), float(a.height)]], (len(a.boxes), 1)) for _, a in images]
    names = [name for name, a in images for _ in a.boxes]
    return np.concatenate([np.zeros((0, 4)), *boxes]), np.concatenate([np.zeros((0, 2)), *sizes]), names


def _plausible(boxes: Boxes, sizes: Sizes) -> Bool[np.ndarray, " n"]:
    """The mask of boxes that lie in their images and have sides of at least a pixel."""
    corners, slack = _to_corners(boxes), BORDER_SLACK * sizes
    inside = (corners[:, :2] >= -slack).all(1) & (corners[:, 2:] <= sizes + slack).all(1)
    return np.asarray(inside & (boxes[:, 2:] >= 1).all(1))


def _far_outside(boxes: Boxes, sizes: Sizes) -> Bool[np.ndarray, " n"]:
    corners = _to_corners(boxes)
    return np.asarray(
        (corners[:, :2] < -FAR_OUTSIDE * sizes).any(1) | (corners[:, 2:] > (1 + FAR_OUTSIDE) * sizes).any(1)
    )


def _empty(boxes: Boxes, sizes: Sizes) -> Bool[np.ndarray, " n"]:
    """The mask of boxes without area in their images. Readers drop and count these."""
    inside = np.clip(_to_corners(boxes), 0, _repeated(sizes))
    return np.asarray((inside[:, 2:] <= inside[:, :2]).any(1))


def _plausible_share(convention: BoxConvention, numbers: Boxes, sizes: Sizes) -> float:
    """The share of plausible boxes, if `numbers` are read in this convention."""
    return float(_plausible(convention.to_pixels(numbers, sizes), sizes).mean())


def _count_note(split: str, mask: Bool[np.ndarray, " n"], names: Iterable[str], what: str) -> tuple[str, ...]:
    count = int(mask.sum())
    return (f"{split}: {count} {what} (first in {list(names)[int(mask.argmax())]})",) if count else ()
