"""Batches for training and evaluation, through Grain: read and augmented in threads while the device computes.

A training sample depends only on the seed and on its position in the training. It does not depend on threads, nor on
where the iterator began. So a resumed run sees the same samples as an uninterrupted one.
"""

import functools
import os
from collections.abc import Generator
from typing import Any

import grain
import numpy as np

from remoteclip_jax.data.broken_images import SKIP_BROKEN_HINT
from remoteclip_jax.data.transforms import use_one_opencv_thread
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.errors import UserError

Batch = dict[str, np.ndarray]
Batches = Generator[Batch, None, None]  # closing it releases its threads and its cached images

MAX_SAMPLES = 2**40  # more than any training sees


def steps_per_epoch(dataset: Dataset, batch_size: int) -> int:
    """Batches in an epoch, which sees every image. The first images of the epoch fill up its last batch, so that all
    batches have one size (as in torch's DistributedSampler). UserError if there are too few images for one batch."""
    if batch_size > len(dataset):
        raise UserError(
            f"--batch_size={batch_size} is larger than the {len(dataset)} images of the split {dataset.split!r}"
        )
    return -(-len(dataset) // batch_size)


def example_at(dataset: Dataset, epoch_length: int, seed: int, position: int) -> tuple[Example, np.random.Generator]:
    """The example at `position`, counted from the start of the training, and the generator for augmenting it."""
    index, rng = index_at(len(dataset), epoch_length, seed, position)
    return dataset.examples[index], rng


def index_at(length: int, epoch_length: int, seed: int, position: int) -> tuple[int, np.random.Generator]:
    """Like `example_at`, with the index of the example in a data set of `length` examples."""
    epoch, offset = divmod(position, epoch_length)
    return int(_epoch_order(length, seed, epoch)[offset % length]), np.random.default_rng([seed, 1, position])


def iterate_batches(positions: Any, load: Any, batch_size: int) -> Batches:
    """Batches of `load(position)` for a Grain data set of positions, read ahead in threads. UserErrors pass through."""
    threads = min(16, os.cpu_count() or 1)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * batch_size)
    use_one_opencv_thread()
    try:
        yield from positions.map(load).to_iter_dataset(options).batch(batch_size)
    except UserError as e:  # Grain appends a paragraph about tracebacks to errors from its threads
        raise UserError(f"{str(e).splitlines()[0]} {SKIP_BROKEN_HINT}") from None


@functools.lru_cache(maxsize=4)  # batches are read ahead, so two epochs are in use at a time
def _epoch_order(length: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, 0, epoch]).permutation(length)
