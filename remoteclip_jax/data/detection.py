"""Batches of images with their boxes, padded to one number, for training; and of whole images, for evaluation."""

from collections.abc import Iterator
from dataclasses import dataclass

import grain
import numpy as np

from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.pipeline import ENDLESS, Batch, draw_example, iterate, steps_per_epoch
from remoteclip_jax.data.transforms import Boxes, Window, crop_boxes, flip_and_turn, jitter_colours
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.data.windows import cut_square, random_square, square_around, whole_square

ANYWHERE = 0.5  # share of the samples cut without regard to objects; most of an image is ground
SMALLEST = 2.0  # pixels; what is left of an object is a box no more when its shorter side is below


@dataclass(frozen=True)
class Sampling:
    """How training samples are cut: `size` pixels a side, the image zoomed by a factor from `zoom`, and changed as
    `level` says: "none", "flip" (the eight flips and quarter turns) or "full" (colours too). `mosaic` is the share of
    samples that are put together from four."""

    size: int
    zoom: tuple[float, float] = (1.0, 1.0)
    level: str = "full"
    mosaic: float = 0.0


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
    epoch_length, balance = steps_per_epoch(dataset, batch_size) * batch_size, Balance(dataset)

    def load(place: int) -> Batch:
        example, rng = draw_example(dataset, epoch_length, seed, place)
        if balance.objects and rng.random() < sampling.mosaic:
            pixels, boxes, labels = mosaic(example, balance, sampling, rng)
        else:
            pixels, boxes, labels = cut_example(example, _window(example, sampling.zoom, rng), sampling.size)
        if sampling.level != "none":
            pixels, boxes = flip_and_turn(pixels, boxes, rng)
        if sampling.level == "full":
            pixels = jitter_colours(pixels, rng)
        chosen = rng.permutation(len(labels))[:slots]
        return {"image": np.ascontiguousarray(pixels), **pad(boxes[chosen], labels[chosen], slots)}

    return iterate(grain.MapDataset.range(start_step * batch_size, ENDLESS), load, batch_size)


def _window(example: Example, zoom: tuple[float, float], rng: np.random.Generator) -> Window:
    """A square around one of the objects, a class at random first; or, for the ground between, anywhere."""
    if not len(example.labels) or rng.random() < ANYWHERE:
        return random_square(example.width, example.height, zoom, rng)
    j = rng.choice(np.flatnonzero(example.labels == rng.choice(np.unique(example.labels))))
    return square_around(example.boxes[j], example.width, example.height, zoom, rng)


def cut_example(example: Example, window: Window, size: int) -> tuple[np.ndarray, Boxes, np.ndarray]:
    """What is in a square `window` of an example, at `size` pixels: pixels, and the boxes and labels worth keeping."""
    needed = size * min(example.width, example.height) / (window.w * example.width)
    pixels = cut_square(read_image(example.image, at_least=round(needed)), window, size)
    boxes, kept = crop_boxes(example.boxes, window)
    kept &= boxes[:, 2:].min(-1, initial=1) * size >= SMALLEST
    return pixels, boxes[kept], example.labels[kept]


class Balance:
    """Objects drawn so that every class comes as often as any other: small data sets hold few of most."""

    def __init__(self, dataset: Dataset) -> None:
        places: dict[int, list[tuple[int, int]]] = {}
        for i, example in enumerate(dataset.examples):
            for j, label in enumerate(example.labels.tolist()):
                places.setdefault(label, []).append((i, j))
        self._dataset, self._places = dataset, list(places.values())
        self.objects = sum(map(len, self._places))

    def draw(self, rng: np.random.Generator) -> tuple[Example, int]:
        """An example and the index of an object in it: a class at random, and one of its objects at random."""
        of_class = self._places[rng.integers(len(self._places))]
        i, j = of_class[rng.integers(len(of_class))]
        return self._dataset.examples[i], j


def mosaic(
    example: Example, balance: Balance, sampling: Sampling, rng: np.random.Generator
) -> tuple[np.ndarray, Boxes, np.ndarray]:
    """Four quarters, each around an object: one of `example` (where it has any) and three drawn by `balance`.

    After YOLOv4's mosaic (Bochkovskiy et al. 2020), but quarters keep the scale of the other samples and are cut around
    objects: so a batch of few small images holds many objects.
    """
    half = sampling.size // 2
    zoom = (2 * sampling.zoom[0], 2 * sampling.zoom[1])
    picked = [(example, int(rng.integers(len(example.labels))))] if len(example.labels) else []
    picked += [balance.draw(rng) for _ in range(4 - len(picked))]
    pixels = np.empty((2 * half, 2 * half, 3), np.uint8)
    boxes, labels = [], []
    for quarter, (one, j) in enumerate(picked):
        window = square_around(one.boxes[j], one.width, one.height, zoom, rng)
        part, part_boxes, part_labels = cut_example(one, window, half)
        y, x = divmod(quarter, 2)
        pixels[y * half : (y + 1) * half, x * half : (x + 1) * half] = part
        boxes.append(part_boxes / 2 + np.array([x / 2, y / 2, 0, 0], np.float32))
        labels.append(part_labels)
    return pixels, np.concatenate(boxes), np.concatenate(labels)


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
