"""Batches of images and of distributions over their classes, for training and for evaluation."""

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

from .targets import target_distribution


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
    """Endless batches from `start_step` on: `image` uint8 [b, s, s, 3] and `target` float32 [b, k].

    Each epoch is shuffled again, and no batch belongs to two epochs. `rule` is that of `target_distribution`.
    `augmentation` is "none", "flip" (one of the eight flips and quarter turns) or "full" (also a random resized crop
    and colour jitter). Decoded images are kept as far as memory allows. UserError for a broken image.
    """
    epoch_length = steps_per_epoch(dataset, batch_size) * batch_size
    cache = ImageCache(
        required_shorter_side(SMALLEST_WINDOW if augmentation == "full" else WHOLE_IMAGE, image_size),
        bands=dataset.bands,
    )

    def load(position: int) -> Batch:
        example, rng = example_at(dataset, epoch_length, seed, position)
        size = example.width, example.height
        window = random_window_with_object(example.boxes, *size, rng) if augmentation == "full" else WHOLE_IMAGE
        image = cache.read(example.image, at_least=required_shorter_side(window, image_size))
        pixels, boxes, labels = augment(image, example.boxes, example.labels, window, image_size, rng, augmentation)
        return {"image": pixels, "target": target_distribution(labels, boxes, len(dataset.classes), rule)}

    return iterate_batches(grain.MapDataset.range(start_step * batch_size, MAX_SAMPLES), load, batch_size)


def evaluation_batches(dataset: Dataset, *, batch_size: int, image_size: int, rule: str) -> Batches:
    """Batches of all images once, in order, as CLIP preprocesses them.

    They have `image` uint8 [b, s, s, 3], `target` float32 [b, k], `classes` bool [b, k] (the classes that count as
    correct) and `valid` bool [b]. The last image is repeated to fill the last batch; `valid` is False there. UserError
    for a broken image.
    """
    padded = -(-len(dataset) // batch_size) * batch_size

    def load(position: int) -> Batch:
        example = dataset.examples[min(position, len(dataset) - 1)]
        target = target_distribution(example.labels, example.boxes, len(dataset.classes), rule)
        pixels = resize_and_crop(read_image(example.image, bands=dataset.bands), image_size)
        valid = np.array(position < len(dataset))
        return {"image": pixels, "target": target, "classes": target > 0, "valid": valid}

    return iterate_batches(grain.MapDataset.range(padded), load, batch_size)
