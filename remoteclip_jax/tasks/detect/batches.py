"""Batches of images with their boxes, padded to one number, for training; and of whole images, for prediction."""

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

MAX_IGNORED = 512  # boxes of a sample: of more, crowds and difficult objects first, and those that cover most


class Slots(NamedTuple):
    """Rows for boxes that every image of a batch has: for its objects, and for boxes that are ignored."""

    objects: int
    ignored: int


def box_slots(dataset: Dataset, limit: int, mosaic: bool = False) -> Slots:
    """Slots for the objects of the fullest image, in steps of 8, at most `limit`; in steps of 32 for what is ignored in
    it: crowds, difficult objects, objects beyond the limit. A `mosaic` may have more objects than any one image."""
    most = max(len(example.labels) for example in dataset.examples)
    objects = min(max(8, -(-most // 8) * 8), limit)
    beyond = max(len(x.ignored_labels) + max(0, len(x.labels) - objects) for x in dataset.examples)
    beyond += objects if mosaic else 0
    return Slots(objects, min(-(-beyond // 32) * 32, MAX_IGNORED))


def overflow_notes(dataset: Dataset, limit: int) -> tuple[str, ...]:
    """A note on images that have more than `limit` objects, where there are any."""
    counts = np.array([len(example.labels) for example in dataset.examples])
    beyond = np.maximum(counts - limit, 0)
    if not beyond.any():
        return ()
    note = (
        f"{dataset.split}: {(beyond > 0).sum()} images have more than {limit} objects; where more than these are in a "
        f"sample, up to {min(beyond.max(), MAX_IGNORED)} are not learned from, nor taken for background"
    )
    return (note + (", and the rest are taken for background" if beyond.max() > MAX_IGNORED else ""),)


def detection_batches(
    dataset: Dataset, sampler: Sampler, *, batch_size: int, slots: Slots, seed: int, start_step: int = 0
) -> Batches:
    """Endless batches from step `start_step` on: `image` uint8 [b, s, s, 3], and as in `pad` `boxes`, `labels`,
    `real`, `ignored` and `ignored_labels`.

    Shuffling as in `training_batches`. UserError for a broken image.
    """
    epoch_length, level = steps_per_epoch(dataset, batch_size) * batch_size, sampler.config.level

    def load(place: int) -> Batch:
        example, rng = example_at(dataset, epoch_length, seed, place)
        pixels, boxes, labels, real = sampler.sample(example, rng)
        if level != "none":
            pixels, boxes = flip_and_rotate(pixels, boxes, rng)
        if level == "full":
            pixels = jitter_colours(pixels, rng)
        order = rng.permutation(len(labels))
        return {"image": np.ascontiguousarray(pixels), **pad(boxes[order], labels[order], real[order], slots)}

    return iterate_batches(grain.MapDataset.range(start_step * batch_size, MAX_SAMPLES), load, batch_size)


def object_crop_batches(
    dataset: Dataset, sampler: Sampler, *, batch_size: int, size: int, seed: int, start_step: int = 0
) -> Batches:
    """Endless batches of single objects from step `start_step` on, each class as often as any other, and of ground
    without objects: `image` uint8 [b, size, size, 3], `label` int32 [b], −1 for ground, `shown` bool [b, k], all
    classes that are to be seen, and `ignored` bool [b, k], those of which nothing is known. UserError for a broken
    image."""
    level = sampler.config.level

    def load(place: int) -> Batch:
        rng = np.random.default_rng([seed, 2, place])
        example = dataset.examples[rng.integers(len(dataset))]
        (pixels, _, labels, real), label = sampler.object_crop(example, size, rng)
        if level != "none":
            pixels, _ = flip_and_rotate(pixels, np.zeros((0, 4), np.float32), rng)
        if level == "full":
            pixels = jitter_colours(pixels, rng)
        classes = np.arange(len(dataset.classes))
        shown = np.isin(classes, labels[real]) | (classes == label)
        ignored = np.isin(classes, labels[~real]) & ~shown
        return {
            "image": np.ascontiguousarray(pixels),
            "label": np.array(label, np.int32),
            "shown": shown,
            "ignored": ignored,
        }

    return iterate_batches(grain.MapDataset.range(start_step * batch_size, MAX_SAMPLES), load, batch_size)


def pad(boxes: Boxes, labels: Int32[np.ndarray, " n"], real: Bool[np.ndarray, " n"], slots: Slots) -> Batch:
    """The first objects in `boxes` float32 [slots, 4] (normalised centre and size) and `labels` int32 [slots], of which
    `real` bool [slots] are taken and the rest lie in the image's middle. Objects beyond the slots, and boxes that are
    not real, stand in `ignored` float32 [i, 4] and `ignored_labels` int32 [i], −1 where there is none."""
    objects, others = np.flatnonzero(real), np.flatnonzero(~real)
    others = np.concatenate([others, objects[slots.objects :]])
    others = others[np.lexsort((-boxes[others, 2:].prod(-1), real[others]))][: slots.ignored]
    objects = objects[: slots.objects]
    padded, numbers = np.full((slots.objects, 4), 0.5, np.float32), np.zeros(slots.objects, np.int32)
    padded[: len(objects)], numbers[: len(objects)] = boxes[objects], labels[objects]
    ignored, ignored_labels = np.zeros((slots.ignored, 4), np.float32), np.full(slots.ignored, -1, np.int32)
    ignored[: len(others)], ignored_labels[: len(others)] = boxes[others], labels[others]
    return {
        "boxes": padded,
        "labels": numbers,
        "real": np.arange(slots.objects) < len(objects),
        "ignored": ignored,
        "ignored_labels": ignored_labels,
    }


def whole_image_batches(dataset: Dataset, *, batch_size: int, views: tuple[int, ...]) -> Batches:
    """All images once, in order, each whole in a square (see `whole_square`) of each of `views`: under "0", "1", …
    uint8 [b, v, v, 3]. The last one is repeated to fill up the last batch. UserError for a broken image."""
    padded = -(-len(dataset) // batch_size) * batch_size

    def load(place: int) -> Batch:
        example = dataset.examples[min(place, len(dataset) - 1)]
        squares = image_pyramid(read_image(example.image, bands=dataset.bands), views)
        return {str(i): square for i, square in enumerate(squares)}

    return iterate_batches(grain.MapDataset.range(padded), load, batch_size)
