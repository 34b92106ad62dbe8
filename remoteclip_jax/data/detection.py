"""Batches of images with their boxes, padded to one number, for training; and of whole images, for evaluation."""

from collections.abc import Iterator
from dataclasses import dataclass

import grain
import numpy as np

from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.pipeline import ENDLESS, Batch, iterate, order, steps_per_epoch
from remoteclip_jax.data.transforms import Boxes, crop_boxes, flip_boxes, jitter_colours, turn_boxes
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.data.windows import cut_square, random_square, whole_square

SMALLEST = 2.0  # pixels; what is left of an object is a box no more when its shorter side is below


@dataclass(frozen=True)
class Sampling:
    """How training samples are cut: `size` pixels a side, the image zoomed by a factor from `zoom`, and changed as
    `level` says: "none", "flip" (the eight flips and quarter turns) or "full" (colours too)."""

    size: int
    zoom: tuple[float, float] = (1.0, 1.0)
    level: str = "full"


def box_slots(dataset: Dataset, limit: int) -> int:
    """Slots for boxes that every image gets: enough for the fullest, in steps of eight, at most `limit`."""
    most = max(len(example.labels) for example in dataset.examples)
    return min(max(8, -(-most // 8) * 8), limit)


def detection_batches(
    dataset: Dataset, sampling: Sampling, *, batch_size: int, slots: int, seed: int, start_step: int = 0
) -> Iterator[Batch]:
    """Endless batches from step `start_step` on: `image` uint8 [b, s, s, 3], `boxes` float32 [b, slots, 4] normalised
    (cx, cy, w, h), `labels` int32 [b, slots] and `real` bool [b, slots].

    Shuffling as in `training_batches`; of more boxes than slots a random choice stays. UserError for a broken image.
    """
    epoch_length = steps_per_epoch(dataset, batch_size) * batch_size

    def load(place: int) -> Batch:
        epoch, position = divmod(place, epoch_length)
        example = dataset.examples[order(len(dataset), seed, epoch)[position % len(dataset)]]
        rng = np.random.default_rng([seed, 1, place])
        boxes, labels, size = example.boxes, example.labels, sampling.size
        window = random_square(boxes, example.width, example.height, sampling.zoom, rng)
        needed = size * min(example.width, example.height) / (window.w * example.width)
        pixels = cut_square(read_image(example.image, at_least=round(needed)), window, size)
        boxes, kept = crop_boxes(boxes, window)
        kept &= boxes[:, 2:].min(-1, initial=1) * size >= SMALLEST
        boxes, labels = boxes[kept], labels[kept]
        if sampling.level != "none":
            pixels, boxes = _turn(pixels, boxes, rng)
        if sampling.level == "full":
            pixels = jitter_colours(pixels, rng)
        chosen = rng.permutation(len(labels))[:slots]
        return {"image": np.ascontiguousarray(pixels), **pad(boxes[chosen], labels[chosen], slots)}

    return iterate(grain.MapDataset.range(start_step * batch_size, ENDLESS), load, batch_size)


def _turn(pixels: np.ndarray, boxes: Boxes, rng: np.random.Generator) -> tuple[np.ndarray, Boxes]:
    if rng.random() < 0.5:
        pixels, boxes = pixels[:, ::-1], flip_boxes(boxes)
    quarters = int(rng.integers(4))
    return np.rot90(pixels, quarters), turn_boxes(boxes, quarters)


def pad(boxes: Boxes, labels: np.ndarray, slots: int) -> Batch:
    """Boxes and labels in the first of `slots` rows, and which rows are `real`. The rest lie in the image's middle."""
    n = len(labels)
    padded = np.full((slots, 4), 0.5, np.float32)
    padded[:n] = boxes
    numbers = np.zeros(slots, np.int32)
    numbers[:n] = labels
    return {"boxes": padded, "labels": numbers, "real": np.arange(slots) < n}


def whole_images(dataset: Dataset, *, batch_size: int, size: int) -> Iterator[Batch]:
    """All images once, in order, each whole in a square (see `whole_square`): `image` uint8 [b, s, s, 3]. The last one
    is repeated to fill up the last batch. UserError for a broken image."""
    padded = -(-len(dataset) // batch_size) * batch_size

    def load(place: int) -> Batch:
        example = dataset.examples[min(place, len(dataset) - 1)]
        image = read_image(example.image)
        return {"image": cut_square(image, whole_square(*image.size), size)}

    return iterate(grain.MapDataset.range(padded), load, batch_size)
