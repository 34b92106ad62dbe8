"""The speed of the input pipeline on its own."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from remoteclip_jax.benchmark.clock import Quartiles, quartiles, speed_ratios
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.transforms import WHOLE_IMAGE, crop, required_shorter_side, use_one_opencv_thread
from remoteclip_jax.training.workload import MakeBatches

REPEATS = 7


def pipeline_rates(make_batches: Callable[[], MakeBatches], steps: int, batch_size: int) -> tuple[float, float]:
    """The images/s of the pipeline with all its threads, in the first epoch and in the second, of `steps` each.

    The first one decodes every image. The second one has them decoded, as far as memory allows.
    """
    first_epoch: list[float] = []
    second_epoch: list[float] = []
    for _ in range(REPEATS):
        batches = make_batches()(0, 0)
        for rates in (first_epoch, second_epoch):
            begin = time.perf_counter()
            for _ in range(steps):
                next(batches)
            rates.append(steps * batch_size / (time.perf_counter() - begin))
        batches.close()
    return statistics.median(first_epoch), statistics.median(second_epoch)


def reading_speed_ratio(theirs: Callable[[Path], Any], paths: list[Path], size: int) -> Quartiles:
    """How many times faster than `theirs` this project reads the images for training at `size` pixels, on one core.

    These are ratios of processor time, in pairs of passes over all images.
    """

    def ours(path: Path) -> Any:
        return crop(np.asarray(read_image(path, at_least=required_shorter_side(WHOLE_IMAGE, size))), WHOLE_IMAGE, size)

    use_one_opencv_thread()
    seconds: tuple[list[float], list[float]] = [], []
    for warm_up in (True, *[False] * REPEATS):
        for read, times in zip((ours, theirs), seconds, strict=True):
            begin = time.process_time()
            for path in paths:
                read(path)
            if not warm_up:
                times.append(time.process_time() - begin)
    return quartiles(speed_ratios(*seconds))
