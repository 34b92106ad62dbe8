"""Batches of images with their boxes, padded to one number, for training; and of whole images, for prediction."""

import grain
import numpy as np

from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.pipeline import ENDLESS, Batch, Batches, draw_example, iterate, steps_per_epoch
from remoteclip_jax.data.sampling import Sampler
from remoteclip_jax.data.transforms import Boxes, flip_and_turn, jitter_colours
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.data.windows import whole_squares


def box_slots(dataset: Dataset, limit: int) -> int:
    """Slots for boxes that every image gets: enough for the fullest, in steps of eight, at most `limit`."""
    most = max(len(example.labels) for example in dataset.examples)
    return min(max(8, -(-most // 8) * 8), limit)


def detection_batches(
    dataset: Dataset, sampler: Sampler, *, batch_size: int, slots: int, seed: int, start_step: int = 0
) -> Batches:
    """Endless batches from step `start_step` on: `image` uint8 [b, s, s, 3], `boxes` float32 [b, slots, 4] normalised
    (cx, cy, w, h), `labels` int32 [b, slots] and `real` bool [b, slots].

    Shuffling as in `training_batches`; of more boxes than slots a random choice stays. UserError for a broken image.
    """
    epoch_length, level = steps_per_epoch(dataset, batch_size) * batch_size, sampler.sampling.level

    def load(place: int) -> Batch:
        example, rng = draw_example(dataset, epoch_length, seed, place)
        pixels, boxes, labels = sampler.draw(example, rng)
        if level != "none":
            pixels, boxes = flip_and_turn(pixels, boxes, rng)
        if level == "full":
            pixels = jitter_colours(pixels, rng)
        chosen = rng.permutation(len(labels))[:slots]
        return {"image": np.ascontiguousarray(pixels), **pad(boxes[chosen], labels[chosen], slots)}

    return iterate(grain.MapDataset.range(start_step * batch_size, ENDLESS), load, batch_size)


def close_up_batches(
    dataset: Dataset, sampler: Sampler, *, batch_size: int, size: int, seed: int, start_step: int = 0
) -> Batches:
    """Endless batches of single objects from step `start_step` on, each class as often as any other, and of ground
    without objects: `image` uint8 [b, size, size, 3], `label` int32 [b], −1 for ground, and `shown` bool [b, k], all
    classes that are to be seen. UserError for a broken image."""
    level = sampler.sampling.level

    def load(place: int) -> Batch:
        rng = np.random.default_rng([seed, 2, place])
        example = dataset.examples[rng.integers(len(dataset))]
        pixels, label, every = sampler.close_up(example, size, rng)
        if level != "none":
            pixels, _ = flip_and_turn(pixels, np.zeros((0, 4), np.float32), rng)
        if level == "full":
            pixels = jitter_colours(pixels, rng)
        shown = np.isin(np.arange(len(dataset.classes)), every)
        return {"image": np.ascontiguousarray(pixels), "label": np.array(label, np.int32), "shown": shown}

    return iterate(grain.MapDataset.range(start_step * batch_size, ENDLESS), load, batch_size)


def pad(boxes: Boxes, labels: np.ndarray, slots: int) -> Batch:
    """Boxes and labels in the first of `slots` rows, and which rows are `real`. The rest lie in the image's middle."""
    n = len(labels)
    padded = np.full((slots, 4), 0.5, np.float32)
    padded[:n] = boxes
    numbers = np.zeros(slots, np.int32)
    numbers[:n] = labels
    return {"boxes": padded, "labels": numbers, "real": np.arange(slots) < n}


def whole_images(dataset: Dataset, *, batch_size: int, views: tuple[int, ...]) -> Batches:
    """All images once, in order, each whole in a square (see `whole_square`) of each of `views`: under "0", "1", …
    uint8 [b, v, v, 3]. The last one is repeated to fill up the last batch. UserError for a broken image."""
    padded = -(-len(dataset) // batch_size) * batch_size

    def load(place: int) -> Batch:
        example = dataset.examples[min(place, len(dataset) - 1)]
        squares = whole_squares(read_image(example.image, bands=dataset.bands), views)
        return {str(i): square for i, square in enumerate(squares)}

    return iterate(grain.MapDataset.range(padded), load, batch_size)
