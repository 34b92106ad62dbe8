"""The step of `--task=align` beside the same step in PyTorch, in blocks that alternate within one process."""

import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from remoteclip_jax.benchmark import clock, reading
from remoteclip_jax.benchmark.cases import Trainer, inference_call, make_case
from remoteclip_jax.benchmark.clock import Action
from remoteclip_jax.benchmark.compiling import timed_compile
from remoteclip_jax.benchmark.measure import MIN_ROUNDS, Place, about, rounds_of, setting_figures
from remoteclip_jax.benchmark.torch_step import TorchAlign, torchvision_reader
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.tasks.align.config import AlignConfig

COMPARED_STEP = 4  # the step whose loss is compared with PyTorch's


def against_torch(
    settings: dict[str, Any], place: Place, *, steps: int, compile_mode: str | None, batch_sizes: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """How many times faster than PyTorch training and inference are, and reading images. `compile_mode` is "no", a mode
    of `torch.compile`, or None: "default" on a GPU, "no" on a processor."""
    case = make_case(settings, RunDirectory(place.folder))
    assert isinstance(case.config, AlignConfig)
    yield about("torch", "open_clip_torch") | setting_figures(case)
    batch = {name: np.asarray(x).reshape(-1, *x.shape[2:]) for name, x in case.batch.items()}
    theirs = TorchAlign(case.clip, case.config, np.asarray(case.texts), compile_mode)
    torch_step = theirs.train_step(batch["image"], batch["target"])
    yield {"torch_compile": theirs.compile_mode, "torch_memory_format": theirs.memory_format}
    ours = Trainer(case, timed_compile(case.step, case.new_state(), case.batch).compiled)
    begin = time.perf_counter()
    losses = [float(ours.random_step()["loss"]), float(torch_step())]  # PyTorch compiles here
    yield {"torch_first_step_sec": time.perf_counter() - begin}
    for _ in range(COMPARED_STEP - 1):
        losses = [float(ours.random_step()["loss"]), float(torch_step())]
    yield {"loss": losses[0], "torch_loss": losses[1]}
    pair = {"ours": Action(ours.random_step), "theirs": Action(torch_step, lambda loss: loss.item())}
    ratios = _speed_ratios(pair, rounds_of(pair["ours"], steps))
    yield {**_ratio_figures(ratios), "torch_pairs": len(ratios)}
    ours.close()
    size = case.config.image_size
    for n in batch_sizes:
        images = np.random.default_rng(0).normal(size=(n, size, size, 3)).astype(np.float32)
        pair = {"ours": Action(inference_call(case, n)), "theirs": Action(theirs.encoder(images), lambda _: None)}
        yield {"inference": {n: _ratio_figures(_speed_ratios(pair, MIN_ROUNDS))}}
    images_read = (example.image for example in case.data.train.examples[:100])
    paths = [image for image in images_read if isinstance(image, Path)]
    reading_ratio = reading.reading_speed_ratio(torchvision_reader(size), paths, size)
    yield {
        "input_ratio": reading_ratio.median,
        "input_ratio_quartiles": [reading_ratio.low, reading_ratio.high],
    }


def _speed_ratios(pair: dict[str, Action], rounds: int) -> list[float]:
    times = clock.alternating_times(pair, rounds)
    return clock.speed_ratios(times["ours"], times["theirs"])


def _ratio_figures(ratios: list[float]) -> dict[str, float]:
    return {"torch_ratio": statistics.median(ratios), "torch_ratio_min": min(ratios), "torch_ratio_max": max(ratios)}
