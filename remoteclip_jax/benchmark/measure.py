"""One case measured: everything that the benchmark prints and writes."""

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
from remoteclip_jax.benchmark.machine import device, matmul_flops_per_second, memory_bandwidth, peak_memory, versions
from remoteclip_jax.benchmark.trace import Profile, profile
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.tasks.align.config import AlignConfig

PAIRS = 10  # of blocks, at least
SETTLE = 2  # batches read ahead, which would make the first steps after a pause look free
TRACED = 3  # steps
LOSS_STEP = 4  # whose loss is compared with PyTorch's


@dataclass(frozen=True)
class Plan:
    """`steps` is how many are timed, or fewer where longer blocks of them are needed for the clock."""

    steps: int
    compare_torch: bool
    profile_dir: Path | None


def measure(settings: dict[str, Any], plan: Plan, run: RunDirectory) -> tuple[dict[str, Any], Profile | None]:
    """The figures by the keys of `--json`, and the profile where one was asked for."""
    case = make_case(settings, run)
    config, batch_size = case.config, case.config.batch_size
    bar = tqdm(total=7 + plan.compare_torch, unit="part", disable=None)

    def part(name: str) -> None:
        bar.set_description(name)
        bar.update()

    part("compiling")
    compilation = compile_twice(case.step, case.new_state(), case.batch)
    part("the device's peak")
    peak = matmul_flops_per_second(config.dtype) * jax.local_device_count()
    bandwidth = memory_bandwidth() * jax.local_device_count()
    part("training")
    trainer = Trainer(case, compilation.compiled)
    step = clock.run(Action(trainer.random), 1, clock.WARM_UP_STEPS)
    rounds = max(PAIRS, round(plan.steps * step / max(step, clock.MIN_BLOCK_SECONDS)))
    seconds = clock.spread(clock.alternate({"step": Action(trainer.random)}, rounds)["step"])
    part("training with real input")
    both = {"random": Action(trainer.random), "real": Action(trainer.real)}
    times = clock.alternate(both, PAIRS, warm_up=SETTLE)
    overhead = clock.spread(clock.ratios(times["random"], times["real"]))
    part("the input pipeline")
    rates = reading.pipeline_rates(case.new_batches, case.workload.steps_per_epoch, batch_size)
    part("inference")
    inference = {n: _inference(case, n) for n in INFERENCE_BATCHES[config.task]}
    found = None
    part("profile")
    if plan.profile_dir is not None:
        found = profile(trainer.random, TRACED, plan.profile_dir, compilation.compiled.as_text() or "")
    flops, moved = cost(compilation)
    result = {
        "task": config.task,
        "preset": config.preset,
        "arch": config.arch,
        "batch_size": batch_size,
        "image_size": config.image_size,
        "dtype": config.dtype,
        "device": device(),
        "versions": versions(*(("torch", "open_clip_torch") if plan.compare_torch else ())),
        "iterations_per_sec": 1 / seconds.median,
        "iterations_per_sec_quartiles": [1 / seconds.high, 1 / seconds.low],
        "images_per_sec": batch_size / seconds.median,
        "compile_sec": compilation.seconds,
        "compile_sec_cached": compilation.seconds_cached,
        "flops_per_step": flops,
        "bytes_per_step": moved,
        "flops_per_sec": flops / seconds.median,
        "peak_flops_per_sec": peak,
        "peak_fraction": flops / seconds.median / peak,
        "bandwidth_bytes_per_sec": bandwidth,
        "floor_sec": max(flops / peak, moved / bandwidth),
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
    if plan.compare_torch:
        part("PyTorch")
        result |= _against_torch(case, compilation, rounds, inference)
    trainer.close()
    bar.close()
    if found is not None:
        result["profile"] = {"kinds": found.kinds, "stages": found.stages}
    return result, found


def cost(compilation: Compilation) -> tuple[float, float]:
    """Floating-point operations and bytes of all devices together, by XLA's cost analysis: operations of the program
    before optimisation, which may put in calls of libraries that XLA cannot look into; bytes of the optimised one."""
    before, after = compilation.lowered.cost_analysis(), compilation.compiled.cost_analysis()
    assert before is not None
    assert after is not None
    devices = jax.local_device_count()
    return float(before["flops"]) * devices, float(after["bytes accessed"]) * devices


def _inference(case: Case, batch_size: int) -> dict[str, Any]:
    seconds = clock.spread(clock.alternate({"call": Action(inference_call(case, batch_size))}, PAIRS)["call"])
    return {"images_per_sec": batch_size / seconds.median, "milliseconds": 1000 * seconds.median}


def _against_torch(
    case: Case, compilation: Compilation, rounds: int, inference: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    # torch is optional, and slow to import
    from remoteclip_jax.benchmark.torch_step import TorchAlign, torchvision_reader

    batch = {name: np.asarray(x).reshape(-1, *x.shape[2:]) for name, x in case.batch.items()}
    assert isinstance(case.config, AlignConfig)
    theirs = TorchAlign(case.clip, case.config, np.asarray(case.texts))
    train = theirs.start(batch["image"], batch["target"])
    ours = Trainer(case, compilation.compiled)
    losses = [[float(ours.random()["loss"]), float(train())] for _ in range(LOSS_STEP)][-1]
    pair = {"ours": Action(ours.random), "theirs": Action(train, lambda loss: loss.item())}
    ratio = _ratios(pair, rounds)
    ours.close()
    for n in inference:
        size = case.config.image_size
        images = np.random.default_rng(0).normal(size=(n, size, size, 3)).astype(np.float32)
        pair = {"ours": Action(inference_call(case, n)), "theirs": Action(theirs.encoder(images), lambda _: None)}
        of_inference = _ratios(pair, PAIRS)
        inference[n] |= {"torch_ratio": statistics.median(of_inference)}
        inference[n] |= {"torch_ratio_min": min(of_inference), "torch_ratio_max": max(of_inference)}
    paths = [example.image for example in case.data.train.examples[:100]]
    files = reading.against(torchvision_reader(case.config.image_size), paths, case.config.image_size)
    return {
        "torch_ratio": statistics.median(ratio),
        "torch_ratio_min": min(ratio),
        "torch_ratio_max": max(ratio),
        "torch_pairs": len(ratio),
        "torch_memory_format": theirs.memory_format,
        "loss": losses[0],
        "torch_loss": losses[1],
        "input_ratio": files.median,
        "input_ratio_quartiles": [files.low, files.high],
    }


def _ratios(pair: dict[str, Action], rounds: int) -> list[float]:
    times = clock.alternate(pair, rounds)
    return clock.ratios(times["ours"], times["theirs"])
