"""Batches of images with their boxes, padded to a fixed number, for training; and of whole images, for prediction."""

from typing import NamedTuple

import grain
import numpy as np
from jaxtyping import Bool, Int32

from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.pipeline import MAX_SAMPLES, Batch, Batches, example_at, iterate_batches, steps_per_epoch
from remoteclip_jax.data.sampling import Sampler
from remoteclip_jax.data.transforms import Boxes, flip_and_rotate, jitter_colours
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.data.windows import image_pyramid

MAX_IGNORED = 512  # ignored boxes of a sample; crowds and difficult objects go first, then the largest boxes


class Slots(NamedTuple):
    """The number of rows for boxes that every image of a batch has: for its objects, and for its ignored boxes."""

    objects: int
    ignored: int


def box_slots(dataset: Dataset, max_objects: int, mosaic: bool = False) -> Slots:
    """The slots that the images of `dataset` need.

    For objects: enough for the image with the most, in steps of 8, at most `max_objects`. For ignored boxes, in steps
    of 32: crowds, difficult objects and surplus objects. A `mosaic` may have more objects than any single image.
    """
    most = max(len(example.labels) for example in dataset.examples)
    objects = min(max(8, -(-most // 8) * 8), max_objects)
    ignored = max(len(x.ignored_labels) + max(0, len(x.labels) - objects) for x in dataset.examples)
    ignored += objects if mosaic else 0
    return Slots(objects, min(-(-ignored // 32) * 32, MAX_IGNORED))


def surplus_notes(dataset: Dataset, max_objects: int) -> tuple[str, ...]:
    """A note on the images that have more than `max_objects` objects; none if there are no such images."""
    counts = np.array([len(example.labels) for example in dataset.examples])
    surplus = np.maximum(counts - max_objects, 0)
    if not surplus.any():
        return ()
    note = (
        f"{dataset.split}: {(surplus > 0).sum()} images have more than {max_objects} objects; if a sample has more, up "
        f"to {min(surplus.max(), MAX_IGNORED)} of them are ignored: learned neither as objects nor as background"
    )
    return (note + ("; the rest count as background" if surplus.max() > MAX_IGNORED else ""),)


def detection_batches(
    dataset: Dataset, sampler: Sampler, *, batch_size: int, slots: Slots, seed: int, start_step: int = 0
) -> Batches:
    """Endless batches from `start_step` on: `image` uint8 [b, s, s, 3], and the arrays of `pad_boxes`.

    Each epoch is shuffled again, and no batch belongs to two epochs. UserError for a broken image.
    """
    epoch_length, level = steps_per_epoch(dataset, batch_size) * batch_size, sampler.config.level

    def load(position: int) -> Batch:
        example, rng = example_at(dataset, epoch_length, seed, position)
        pixels, boxes, labels, is_object = sampler.sample(example, rng)
        if level != "none":
            pixels, boxes = flip_and_rotate(pixels, boxes, rng)
        if level == "full":
            pixels = jitter_colours(pixels, rng)
        order = rng.permutation(len(labels))
        padded = pad_boxes(boxes[order], labels[order], is_object[order], slots)
        return {"image": np.ascontiguousarray(pixels), **padded}

    return iterate_batches(grain.MapDataset.range(start_step * batch_size, MAX_SAMPLES), load, batch_size)


def object_crop_batches(
    dataset: Dataset, sampler: Sampler, *, batch_size: int, size: int, seed: int, start_step: int = 0
) -> Batches:
    """Endless batches of object crops and background crops from `start_step` on. All classes are equally frequent.

    They have `image` uint8 [b, size, size, 3], `label` int32 [b] (−1 for background), `shown` bool [b, k] (all classes
    that can be seen) and `ignored` bool [b, k] (classes of which nothing is known). UserError for a broken image.
    """
    level = sampler.config.level

    def load(position: int) -> Batch:
        rng = np.random.default_rng([seed, 2, position])
        example = dataset.examples[rng.integers(len(dataset))]
        (pixels, _, labels, is_object), label = sampler.object_crop(example, size, rng)
        if level != "none":
            pixels, _ = flip_and_rotate(pixels, np.zeros((0, 4), np.float32), rng)
        if level == "full":
            pixels = jitter_colours(pixels, rng)
        classes = np.arange(len(dataset.classes))
        shown = np.isin(classes, labels[is_object]) | (classes == label)
        ignored = np.isin(classes, labels[~is_object]) & ~shown
        return {
            "image": np.ascontiguousarray(pixels),
            "label": np.array(label, np.int32),
            "shown": shown,
            "ignored": ignored,
        }

    return iterate_batches(grain.MapDataset.range(start_step * batch_size, MAX_SAMPLES), load, batch_size)


def pad_boxes(boxes: Boxes, labels: Int32[np.ndarray, " n"], is_object: Bool[np.ndarray, " n"], slots: Slots) -> Batch:
    """The boxes of a sample, padded to `slots`, under the names of the fields of `detector.supervision.Truth`.

    The first objects are in `boxes` float32 [slots.objects, 4] (normalised cx, cy, w, h) and `labels` int32
    [slots.objects]. `real` bool [slots.objects] is False for padding, whose boxes are centred with half the image's
    size. Boxes that are not objects, and objects for which there is no slot, are in `ignored` float32
    [slots.ignored, 4] and `ignored_labels` int32 [slots.ignored], padded with label −1.
    """
    objects, ignored = np.flatnonzero(is_object), np.flatnonzero(~is_object)
    ignored = np.concatenate([ignored, objects[slots.objects :]])
    ignored = ignored[np.lexsort((-boxes[ignored, 2:].prod(-1), is_object[ignored]))][: slots.ignored]
    objects = objects[: slots.objects]
    object_boxes, object_labels = np.full((slots.objects, 4), 0.5, np.float32), np.zeros(slots.objects, np.int32)
    object_boxes[: len(objects)], object_labels[: len(objects)] = boxes[objects], labels[objects]
    ignored_boxes, ignored_labels = np.zeros((slots.ignored, 4), np.float32), np.full(slots.ignored, -1, np.int32)
    ignored_boxes[: len(ignored)], ignored_labels[: len(ignored)] = boxes[ignored], labels[ignored]
    return {
        "boxes": object_boxes,
        "labels": object_labels,
        "real": np.arange(slots.objects) < len(objects),
        "ignored": ignored_boxes,
        "ignored_labels": ignored_labels,
    }


def whole_image_batches(dataset: Dataset, *, batch_size: int, views: tuple[int, ...]) -> Batches:
    """Batches of all images once, in order, each image whole in a square of each size in `views`.

    The squares are under the keys "0", "1", … as uint8 [b, v, v, 3] (see `image_pyramid`). The last image is repeated
    to fill the last batch. UserError for a broken image.
    """
    padded = -(-len(dataset) // batch_size) * batch_size

    def load(position: int) -> Batch:
        example = dataset.examples[min(position, len(dataset) - 1)]
        squares = image_pyramid(read_image(example.image, bands=dataset.bands), views)
        return {str(i): square for i, square in enumerate(squares)}

    return iterate_batches(grain.MapDataset.range(padded), load, batch_size)
