"""The types that every reader returns: images with their objects, in one form for all formats."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32

from remoteclip_jax.data.image_sources import ImageSource

Bands = tuple[int, ...]  # one band, or those for red, green and blue; counted from 1


@dataclass(frozen=True, eq=False)
class Annotations:
    """All annotations of an image as its file has them. Average precision is measured against these: nothing is
    clipped, dropped or rounded.

    `boxes` are (x, y, width, height) in pixels of an image of `width` x `height`. This is the size that the file
    means, which may differ from that of the image at hand. `areas` are the file's own if it has them (COCO); they
    decide between small, medium and large. `crowd` marks COCO's regions of many objects, `difficult` objects of
    VOC and DOTA that need not be found; neither counts for or against a detector. `image_id` is the file's own.
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

    `image` is a file, or a member of a tar archive. `width` and `height` are in pixels of the upright image. `boxes`
    are normalised (cx, cy, w, h) in [0, 1] of it; `labels` index the data set's `classes`. `ignored` are the boxes of
    crowds and difficult objects, with `ignored_labels`: in these regions a detector is taught nothing about that class.
    `annotations` are what the file says, for evaluation; None if the objects say it all. In class folders, one object
    fills the image. `captions` are sentences about the image; data that have these have no objects.
    """

    image: ImageSource
    width: int
    height: int
    boxes: Float32[np.ndarray, "n 4"]
    labels: Int32[np.ndarray, " n"]
    ignored: Float32[np.ndarray, "i 4"] = field(default_factory=_no_boxes)
    ignored_labels: Int32[np.ndarray, " i"] = field(default_factory=_no_labels)
    annotations: Annotations | None = None
    captions: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split.

    `has_boxes` is False for class folders, which `detect` cannot use. `notes` go to the screen and the report: what was
    dropped or repaired while reading, and how often. `category_ids` are the file's own numbers of the `classes` (COCO,
    YOLO); None if it has none. `bands` are the bands of its images that are used (see `read_image`). `layout` describes
    for people how the data are stored, and `source_split` is what the split is called there.
    """

    split: str
    classes: tuple[str, ...]
    examples: tuple[Example, ...]
    has_boxes: bool = True
    notes: tuple[str, ...] = field(default=())
    category_ids: tuple[int, ...] | None = None
    bands: Bands | None = None
    layout: str = ""
    source_split: str = ""

    def __len__(self) -> int:
        return len(self.examples)
