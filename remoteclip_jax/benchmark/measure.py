"""The measurement of one case: all figures that the benchmark prints and writes."""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from remoteclip_jax.benchmark import clock, reading
from remoteclip_jax.benchmark.cases import INFERENCE_BATCHES, Case, Trainer, inference_call, make_case
from remoteclip_jax.benchmark.clock import Action
from remoteclip_jax.benchmark.compiling import Compilation, compile_twice
from remoteclip_jax.benchmark.machine import (
    device_name,
    matmul_flops_per_second,
    memory_bandwidth,
    package_versions,
    peak_memory,
)
from remoteclip_jax.benchmark.trace import Profile, trace_profile
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.tasks.align.config import AlignConfig

MIN_ROUNDS = 10  # of blocks
READ_AHEAD_STEPS = 2  # the pipeline has read this many batches ahead, so the first steps after a pause look free
TRACED_STEPS = 3
COMPARED_STEP = 4  # the step whose loss is compared with PyTorch's


@dataclass(frozen=True)
class Options:
    """What to measure. `steps` is the number of training steps to time. Fewer blocks are timed if one step is too short
    for the clock. A profile is written if `profile_dir` is given."""

    steps: int
    compare_torch: bool
    profile_dir: Path | None


def measure(settings: dict[str, Any], options: Options, run: RunDirectory) -> tuple[dict[str, Any], Profile | None]:
    """The figures by the keys of `--json`, and the profile if one was asked for."""
    case = make_case(settings, run)
    config, batch_size = case.config, case.config.batch_size
    bar = tqdm(total=7 + options.compare_torch, unit="part", disable=None)

    def begin_part(name: str) -> None:
        bar.set_description(name)
        bar.update()

    begin_part("compiling")
    compilation = compile_twice(case.step, case.new_state(), case.batch)
    begin_part("the device's peak")
    peak = matmul_flops_per_second(config.dtype) * jax.local_device_count()
    bandwidth = memory_bandwidth() * jax.local_device_count()
    begin_part("training")
    trainer = Trainer(case, compilation.compiled)
    random, real = Action(trainer.random_step), Action(trainer.real_step)
    step = clock.seconds_per_step(random, 1, clock.WARM_UP_STEPS)
    rounds = max(MIN_ROUNDS, round(options.steps * step / max(step, clock.MIN_BLOCK_SECONDS)))
    seconds = clock.quartiles(clock.alternating_times({"step": random}, rounds)["step"])
    begin_part("training with real input")
    times = clock.alternating_times({"random": random, "real": real}, MIN_ROUNDS, warm_up=READ_AHEAD_STEPS)
    overhead = clock.quartiles(clock.speed_ratios(times["random"], times["real"]))
    begin_part("the input pipeline")
    rates = reading.pipeline_rates(case.new_batches, case.workload.steps_per_epoch, batch_size)
    begin_part("inference")
    inference = {n: _inference_figures(case, n) for n in INFERENCE_BATCHES[config.task]}
    profile = None
    begin_part("profile")
    if options.profile_dir is not None:
        program = compilation.compiled.as_text() or ""
        profile = trace_profile(trainer.random_step, TRACED_STEPS, options.profile_dir, program)
    flops, moved_bytes = step_cost(compilation)
    result = {
        "task": config.task,
        "preset": config.preset,
        "arch": config.arch,
        "batch_size": batch_size,
        "image_size": config.image_size,
        "dtype": config.dtype,
        "device": device_name(),
        "versions": package_versions(*(("torch", "open_clip_torch") if options.compare_torch else ())),
        "iterations_per_sec": 1 / seconds.median,
        "iterations_per_sec_quartiles": [1 / seconds.high, 1 / seconds.low],
        "images_per_sec": batch_size / seconds.median,
        "compile_sec": compilation.seconds,
        "compile_sec_cached": compilation.seconds_cached,
        "flops_per_step": flops,
        "bytes_per_step": moved_bytes,
        "flops_per_sec": flops / seconds.median,
        "peak_flops_per_sec": peak,
        "peak_fraction": flops / seconds.median / peak,
        "bandwidth_bytes_per_sec": bandwidth,
        "floor_sec": max(flops / peak, moved_bytes / bandwidth),
        "peak_memory_bytes": peak_memory(compilation.compiled),
        "input_images_per_sec": rates[0],
        "input_images_per_sec_decoded": rates[1],
        "input_overhead": overhead.median,
        "input_overhead_quartiles": [overhead.low, overhead.high],
        "torch_ratio": None,
        "torch_ratio_min": None,
        "torch_ratio_max": None,
        "input_ratio": None,
        "inference": inference,
    }
    if options.compare_torch:
        begin_part("PyTorch")
        result |= _torch_figures(case, compilation, rounds, inference)
    trainer.close()
    bar.close()
    if profile is not None:
        result["profile"] = {"kinds": profile.kinds, "stages": profile.stages}
    return result, profile


def step_cost(compilation: Compilation) -> tuple[float, float]:
    """The floating-point operations and the bytes of a step on all devices, by XLA's cost analysis.

    Operations are those of the program before optimisation, because the optimised one may call libraries that XLA
    cannot look into. Bytes are those of the optimised program.
    """
    before, after = compilation.lowered.cost_analysis(), compilation.compiled.cost_analysis()
    assert before is not None
    assert after is not None
    devices = jax.local_device_count()
    return float(before["flops"]) * devices, float(after["bytes accessed"]) * devices


def _inference_figures(case: Case, batch_size: int) -> dict[str, Any]:
    times = clock.alternating_times({"call": Action(inference_call(case, batch_size))}, MIN_ROUNDS)["call"]
    seconds = clock.quartiles(times)
    return {"images_per_sec": batch_size / seconds.median, "milliseconds": 1000 * seconds.median}


def _torch_figures(
    case: Case, compilation: Compilation, rounds: int, inference: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    """The figures of the comparison with PyTorch. Those of inference are added to `inference`."""
    # PyTorch is optional, and slow to import.
    from remoteclip_jax.benchmark.torch_step import TorchAlign, torchvision_reader

    batch = {name: np.asarray(x).reshape(-1, *x.shape[2:]) for name, x in case.batch.items()}
    assert isinstance(case.config, AlignConfig)
    theirs = TorchAlign(case.clip, case.config, np.asarray(case.texts))
    torch_step = theirs.train_step(batch["image"], batch["target"])
    ours = Trainer(case, compilation.compiled)
    losses = [[float(ours.random_step()["loss"]), float(torch_step())] for _ in range(COMPARED_STEP)][-1]
    pair = {"ours": Action(ours.random_step), "theirs": Action(torch_step, lambda loss: loss.item())}
    training_ratios = _speed_ratios(pair, rounds)
    ours.close()
    for n in inference:
        size = case.config.image_size
        images = np.random.default_rng(0).normal(size=(n, size, size, 3)).astype(np.float32)
        pair = {"ours": Action(inference_call(case, n)), "theirs": Action(theirs.encoder(images), lambda _: None)}
        inference_ratios = _speed_ratios(pair, MIN_ROUNDS)
        inference[n] |= {"torch_ratio": statistics.median(inference_ratios)}
        inference[n] |= {"torch_ratio_min": min(inference_ratios), "torch_ratio_max": max(inference_ratios)}
    paths = [example.image for example in case.data.train.examples[:100]]
    size = case.config.image_size
    reading_ratio = reading.reading_speed_ratio(torchvision_reader(size), paths, size)
    return {
        "torch_ratio": statistics.median(training_ratios),
        "torch_ratio_min": min(training_ratios),
        "torch_ratio_max": max(training_ratios),
        "torch_pairs": len(training_ratios),
        "torch_memory_format": theirs.memory_format,
        "loss": losses[0],
        "torch_loss": losses[1],
        "input_ratio": reading_ratio.median,
        "input_ratio_quartiles": [reading_ratio.low, reading_ratio.high],
    }


def _speed_ratios(pair: dict[str, Action], rounds: int) -> list[float]:
    times = clock.alternating_times(pair, rounds)
    return clock.speed_ratios(times["ours"], times["theirs"])
