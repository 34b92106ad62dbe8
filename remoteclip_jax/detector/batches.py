"""Predicting windows in batches, on several devices in turn."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import jax
import numpy as np
from jaxtyping import UInt8

from remoteclip_jax.clip.text_embeddings import TextEmbeddings
from remoteclip_jax.detector.inference import TrainedDetector, find_in_squares
from remoteclip_jax.detector.postprocess import BatchDetections
from remoteclip_jax.detector.seeing import SeenWindow
from remoteclip_jax.errors import UserError
from remoteclip_jax.runtime.memory import own_pages


class PredictedBatch:
    """The detections of a batch, fetched from the device when they are first needed."""

    def __init__(self, found: BatchDetections) -> None:
        self._found = found

    @cached_property
    def arrays(self) -> BatchDetections:
        fetched: BatchDetections = jax.device_get(self._found)
        return fetched


def _stacked(squares: Sequence[UInt8[np.ndarray, "v v 3"]]) -> UInt8[np.ndarray, "n v v 3"]:
    """The squares as one array, which leaves no hole in the memory that a step keeps."""
    return np.stack(squares, out=own_pages(len(squares), *squares[0].shape))


def predicted_windows(
    detector: TrainedDetector,
    devices: Sequence[jax.Device],
    prompts: TextEmbeddings,
    seen: Iterable[SeenWindow | UserError],
    batch_size: int,
) -> Iterator[tuple[SeenWindow, PredictedBatch | None, int] | UserError]:
    """Each window with the detections of its batch and its position there; None if there was nothing to see.

    Batches are filled up, so that one program is compiled. The `devices` take turns.
    """

    @functools.cache  # a device gets the variables when its first batch comes
    def on_device(number: int) -> TrainedDetector:
        if len(devices) == 1:
            return detector
        return dataclasses.replace(detector, variables=jax.device_put(detector.variables, devices[number]))

    waiting: list[SeenWindow | UserError] = []
    turn = 0

    def batch() -> Iterator[tuple[SeenWindow, PredictedBatch | None, int] | UserError]:
        squares = [item.squares for item in waiting if isinstance(item, SeenWindow) and item.squares is not None]
        found = None
        if squares:
            squares += squares[-1:] * (batch_size - len(squares))
            stacked = [_stacked(view) for view in zip(*squares, strict=True)]
            found = PredictedBatch(find_in_squares(on_device(turn % len(devices)), stacked, prompts))
        position = 0
        for item in waiting:
            if isinstance(item, UserError):
                yield item
            elif item.squares is None:
                yield item, None, 0
            else:
                # What was seen is no longer needed, and an image may have thousands of windows.
                yield dataclasses.replace(item, squares=None), found, position
                position += 1

    count = 0
    for item in seen:
        waiting.append(item)
        count += isinstance(item, SeenWindow) and item.squares is not None
        if count == batch_size or len(waiting) >= 4 * batch_size:
            yield from batch()
            waiting, count, turn = [], 0, turn + 1
    yield from batch()
