"""Batches for training and evaluation, through Grain: read and augmented in threads while the device computes.

A training sample depends on the seed and on its place in the training alone, never on threads or on where the iterator
began, so that a resumed run sees what an unbroken one would have seen.
"""

import functools
import os
from collections.abc import Generator
from typing import Any

import grain
import numpy as np

from remoteclip_jax.data.broken import REMEDY
from remoteclip_jax.data.transforms import opencv_in_one_thread
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.errors import UserError

Batch = dict[str, np.ndarray]
Batches = Generator[Batch, None, None]  # closed, it lets go of its threads and of the images that it keeps

ENDLESS = 2**40  # more samples than anybody trains on


def steps_per_epoch(dataset: Dataset, batch_size: int) -> int:
    """Batches in an epoch, which sees every image: its first images fill up its last batch, so that all have one size
    (as torch's DistributedSampler does). UserError where even the first batch cannot be filled."""
    if batch_size > len(dataset):
        raise UserError(
            f"--batch_size={batch_size} is larger than the {len(dataset)} images of the split {dataset.split!r}"
        )
    return -(-len(dataset) // batch_size)


def draw_example(dataset: Dataset, epoch_length: int, seed: int, place: int) -> tuple[Example, np.random.Generator]:
    """The example at `place`, counted from the start of the training, and the randomness to change it by."""
    epoch, position = divmod(place, epoch_length)
    example = dataset.examples[_order(len(dataset), seed, epoch)[position % len(dataset)]]
    return example, np.random.default_rng([seed, 1, place])


def iterate(places: Any, load: Any, batch_size: int) -> Batches:
    """Batches of `load(place)` over a Grain data set of places, read ahead in threads. UserError from there as is."""
    threads = min(16, os.cpu_count() or 1)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * batch_size)
    opencv_in_one_thread()
    try:
        yield from places.map(load).to_iter_dataset(options).batch(batch_size)
    except UserError as e:  # Grain adds a paragraph about its tracebacks to whatever its threads raise
        raise UserError(f"{str(e).splitlines()[0]} {REMEDY}") from None


@functools.lru_cache(maxsize=4)  # batches are read ahead, so that two epochs are open at a time
def _order(length: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, 0, epoch]).permutation(length)
