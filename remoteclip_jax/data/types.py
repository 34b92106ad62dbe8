"""What every reader returns: images with their objects, in one form, whatever the files looked like."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32


@dataclass(frozen=True, eq=False)
class Annotated:
    """All annotations of an image as its file has them, which is what average precision is measured against: nothing is
    clipped, dropped or rounded.

    `boxes` are (x, y, width, height) in pixels of an image of `width` x `height`, which is the size that the file
    means, not always that of the image at hand. `areas` are the file's own where it has them (COCO), which is what
    decides between small, medium and large. `crowd` marks COCO's regions of many objects, `difficult` VOC's objects
    that need not be found: neither counts for or against a detector. `image_id` is the file's own.
    """

    image_id: int | str
    width: int
    height: int
    boxes: Float64[np.ndarray, "a 4"]
    areas: Float64[np.ndarray, " a"]
    labels: Int32[np.ndarray, " a"]
    crowd: Bool[np.ndarray, " a"]
    difficult: Bool[np.ndarray, " a"]


def _no_boxes() -> Float32[np.ndarray, "0 4"]:
    return np.zeros((0, 4), np.float32)


def _no_labels() -> Int32[np.ndarray, " 0"]:
    return np.zeros(0, np.int32)


@dataclass(frozen=True, eq=False)
class Example:
    """One image and its objects.

    `boxes` are normalised (cx, cy, w, h) in [0, 1] of the upright image; `labels` index the data set's `classes`.
    `ignored` are crowds and difficult objects, with `ignored_labels`: a detector is taught nothing about that class
    there. `annotated` is what the file says, for evaluation; None where the objects are all there is to say. A scene of
    a class folder is an object that fills its image.
    """

    image: Path
    width: int
    height: int
    boxes: Float32[np.ndarray, "n 4"]
    labels: Int32[np.ndarray, " n"]
    ignored: Float32[np.ndarray, "i 4"] = field(default_factory=_no_boxes)
    ignored_labels: Int32[np.ndarray, " i"] = field(default_factory=_no_labels)
    annotated: Annotated | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split. `has_boxes` is False for class folders, which `detect` cannot use. `notes` go to the screen and the
    report: what was dropped or repaired while reading, and how often. `category_ids` are the file's own numbers of the
    `classes` (COCO, YOLO), None where it has none. `bands` are those of its images that are seen (see `read_image`).
    `layout` says for people how the data are kept on disk, and `found` what the split is called there."""

    split: str
    classes: tuple[str, ...]
    examples: tuple[Example, ...]
    has_boxes: bool = True
    notes: tuple[str, ...] = field(default=())
    category_ids: tuple[int, ...] | None = None
    bands: tuple[int, ...] | None = None
    layout: str = ""
    found: str = ""

    def __len__(self) -> int:
        return len(self.examples)
