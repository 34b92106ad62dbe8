"""Boxes that cannot be meant as they are read: corners for sizes, fractions for pixels, and the reverse."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64

from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError

Boxes = Float64[np.ndarray, "n 4"]
Sizes = Float64[np.ndarray, "n 2"]  # (width, height) of the image of each box

FAR = 0.5  # of the image's side; what is cut off where scenes are cut into tiles reaches less far
SLACK = 0.01  # of it, by which a box that is meant so may reach beyond
NEARLY_ALL, ENOUGH = 0.95, 10
MANY = 0.25  # corners read as sizes stay inside the image where an object lies in its upper left


@dataclass(frozen=True)
class Reading:
    """A way to write a box as four numbers, and how to get from them (x, y, width, height) in pixels, and back."""

    told: str
    to_pixels: Callable[[Boxes, Sizes], Boxes]
    from_pixels: Callable[[Boxes, Sizes], Boxes]


def _twice(sizes: Sizes) -> Boxes:
    return np.concatenate([sizes, sizes], 1)


def _to_corners(b: Boxes) -> Boxes:
    return np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], 1)


def _of_corners(b: Boxes) -> Boxes:
    return np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], 1)


def _to_centre(b: Boxes) -> Boxes:
    return np.concatenate([b[:, :2] + b[:, 2:] / 2, b[:, 2:]], 1)


def _of_centre(b: Boxes) -> Boxes:
    return np.concatenate([b[:, :2] - b[:, 2:] / 2, b[:, 2:]], 1)


READINGS = {
    "xywh": Reading("x, y, width, height in pixels", lambda b, s: b, lambda b, s: b),
    "corners": Reading("corners in pixels", lambda b, s: _of_corners(b), lambda b, s: _to_corners(b)),
    "centre": Reading("centre and size in pixels", lambda b, s: _of_centre(b), lambda b, s: _to_centre(b)),
    "xywh_shares": Reading(
        "x, y, width, height as fractions of the image", lambda b, s: b * _twice(s), lambda b, s: b / _twice(s)
    ),
    "corner_shares": Reading(
        "corners as fractions of the image",
        lambda b, s: _of_corners(b) * _twice(s),
        lambda b, s: _to_corners(b / _twice(s)),
    ),
    "centre_shares": Reading(
        "centre and size as fractions of the image",
        lambda b, s: _of_centre(b) * _twice(s),
        lambda b, s: _to_centre(b / _twice(s)),
    ),
}
OF_FORMAT = {"coco": "xywh", "dior": "corners", "yolo": "centre_shares"}


def check_plausible(dataset: Dataset, dataset_format: str, data_dir: Path) -> tuple[str, ...]:
    """Notes on the boxes, as the files have them, that reach far beyond their images or have a side under a pixel.

    UserError, naming what they look like, where many of them cannot be meant as `dataset_format` writes boxes and
    nearly all would be right if read otherwise; or where nearly all are far off.
    """
    boxes, sizes, names = _written(dataset)
    if not len(boxes):
        return ()
    native = READINGS[OF_FORMAT[dataset_format]]
    right, numbers = _right(boxes, sizes), native.from_pixels(boxes, sizes)
    wrong = int((~right).sum())
    where = f"{data_dir}: of the {len(boxes)} boxes of the split {dataset.split!r}, {wrong} cannot be meant so"
    if wrong >= MANY * len(boxes):
        share, other = max(((_fit(r, numbers, sizes), r) for r in READINGS.values()), key=lambda pair: pair[0])
        if share >= NEARLY_ALL and other is not native:
            raise UserError(
                f"{where} (first in {names[int(right.argmin())]}): this format has {native.told}, and the numbers look "
                f"like {other.told}; write them as {native.told}"
            )
    far, tiny = _far(boxes, sizes), np.asarray(((boxes[:, 2:] > 0) & (boxes[:, 2:] < 1)).any(1))
    outside = _outside(boxes, sizes)
    if len(boxes) >= ENOUGH and (far | tiny | outside).mean() >= NEARLY_ALL:
        raise UserError(
            f"{where}: they reach far beyond their images or are under a pixel; this format has {native.told}"
        )
    return (
        *_noted(dataset.split, far & ~outside, names, "boxes reach far beyond their images"),
        *_noted(dataset.split, tiny, names, "boxes have a side under a pixel"),
    )


def _written(dataset: Dataset) -> tuple[Boxes, Sizes, list[str]]:
    """All boxes as the files have them, the sizes and the names of their images."""
    every = [(example.image.name, a) for example in dataset.examples if (a := example.annotated) is not None]
    boxes = [a.boxes for _, a in every]
    sizes = [np.tile([[float(a.width), float(a.height)]], (len(a.boxes), 1)) for _, a in every]
    names = [name for name, a in every for _ in a.boxes]
    return np.concatenate([np.zeros((0, 4)), *boxes]), np.concatenate([np.zeros((0, 2)), *sizes]), names


def _right(boxes: Boxes, sizes: Sizes) -> Bool[np.ndarray, " n"]:
    """Which boxes lie in their images, and have sides of at least a pixel."""
    corners, slack = _to_corners(boxes), SLACK * sizes
    inside = (corners[:, :2] >= -slack).all(1) & (corners[:, 2:] <= sizes + slack).all(1)
    return np.asarray(inside & (boxes[:, 2:] >= 1).all(1))


def _far(boxes: Boxes, sizes: Sizes) -> Bool[np.ndarray, " n"]:
    corners = _to_corners(boxes)
    return np.asarray((corners[:, :2] < -FAR * sizes).any(1) | (corners[:, 2:] > (1 + FAR) * sizes).any(1))


def _outside(boxes: Boxes, sizes: Sizes) -> Bool[np.ndarray, " n"]:
    """Those that have no area in their images, which readers count."""
    inside = np.clip(_to_corners(boxes), 0, _twice(sizes))
    return np.asarray((inside[:, 2:] <= inside[:, :2]).any(1))


def _fit(reading: Reading, numbers: Boxes, sizes: Sizes) -> float:
    return float(_right(reading.to_pixels(numbers, sizes), sizes).mean())


def _noted(split: str, which: Bool[np.ndarray, " n"], names: Iterable[str], what: str) -> tuple[str, ...]:
    count = int(which.sum())
    return (f"{split}: {count} {what} (first in {list(names)[int(which.argmax())]})",) if count else ()
