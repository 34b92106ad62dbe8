"""Batches of images with the classes that they show, for training and for evaluation."""

import grain
import numpy as np

from remoteclip_jax.clip.preprocess import resize_and_crop
from remoteclip_jax.data.cache import ImageCache
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.pipeline import MAX_SAMPLES, Batch, Batches, example_at, iterate_batches, steps_per_epoch
from remoteclip_jax.data.transforms import (
    SMALLEST_WINDOW,
    WHOLE_IMAGE,
    augment,
    random_window_with_object,
    required_shorter_side,
)
from remoteclip_jax.data.types import Dataset

from .targets import target


def training_batches(
    dataset: Dataset,
    *,
    batch_size: int,
    image_size: int,
    seed: int,
    rule: str,
    augmentation: str = "none",
    start_step: int = 0,
) -> Batches:
    """Endless batches from step `start_step` on: `image` uint8 [b, s, s, 3] and `target` float32 [b, k].

    Each epoch is shuffled afresh and no batch straddles two. `augmentation` is "none", "flip" (one of the eight flips
    and quarter turns) or "full" (a random resized crop and other colours besides). Images are decoded once, as far as
    there is room. UserError for a broken image.
    """
    epoch_length = steps_per_epoch(dataset, batch_size) * batch_size
    cache = ImageCache(
        required_shorter_side(SMALLEST_WINDOW if augmentation == "full" else WHOLE_IMAGE, image_size),
        bands=dataset.bands,
    )

    def load(place: int) -> Batch:
        example, rng = example_at(dataset, epoch_length, seed, place)
        size = example.width, example.height
        window = random_window_with_object(example.boxes, *size, rng) if augmentation == "full" else WHOLE_IMAGE
        image = cache.read(example.image, at_least=required_shorter_side(window, image_size))
        pixels, boxes, labels = augment(image, example.boxes, example.labels, window, image_size, rng, augmentation)
        return {"image": pixels, "target": target(labels, boxes, len(dataset.classes), rule)}

    return iterate_batches(grain.MapDataset.range(start_step * batch_size, MAX_SAMPLES), load, batch_size)


def evaluation_batches(dataset: Dataset, *, batch_size: int, image_size: int, rule: str) -> Batches:
    """All images once, in order, through the evaluation transform.

    Batches have `image`, `target`, `classes` bool [b, k] (those that count as a hit) and `valid` bool [b], False in the
    rows that fill up the last one. UserError for a broken image.
    """
    padded = -(-len(dataset) // batch_size) * batch_size

    def load(place: int) -> Batch:
        example = dataset.examples[min(place, len(dataset) - 1)]  # the last image again, not counted
        distribution = target(example.labels, example.boxes, len(dataset.classes), rule)
        pixels = resize_and_crop(read_image(example.image, bands=dataset.bands), image_size)
        valid = np.array(place < len(dataset))
        return {"image": pixels, "target": distribution, "classes": distribution > 0, "valid": valid}

    return iterate_batches(grain.MapDataset.range(padded), load, batch_size)
