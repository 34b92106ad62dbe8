"""The measurements of a training step and of inference. Each runs in a process of its own (see `jobs`) and yields its
figures in parts, the most important first."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import jax

from remoteclip_jax.benchmark import clock, reading
from remoteclip_jax.benchmark.cases import Case, Trainer, inference_call, make_case
from remoteclip_jax.benchmark.clock import Action
from remoteclip_jax.benchmark.compiling import Compilation, program_memory, step_cost, timed_compile
from remoteclip_jax.benchmark.machine import (
    device_name,
    matmul_flops_per_second,
    memory_bandwidth,
    package_versions,
    peak_memory,
)
from remoteclip_jax.benchmark.trace import trace_profile
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.training.stream import AHEAD

MIN_ROUNDS = 10  # of blocks
READ_AHEAD_STEPS = 2 + AHEAD  # batches that were read ahead, so that the first steps after a pause look free
TRACED_STEPS = 3
NAMED_OPERATIONS = 10  # of a profile, the most expensive

Figures = dict[str, Any]
Settings = dict[str, Any]


class Place(NamedTuple):
    """Where and when a measurement runs: a folder for its files, the time at which its process was started (by
    `time.time`), and the seconds that it may take from then on (None: any)."""

    folder: Path
    launched: float
    seconds: float | None


def step(
    settings: Settings, place: Place, *, steps: int, real_input: bool = True, accelerator_only: bool = False
) -> Iterator[Figures]:
    """The start and the pace of a training: seconds, operations, bytes and memory of `steps` steps, fewer if one is too
    short for the clock; with `real_input` also what the input pipeline adds, and its own pace."""
    if accelerator_only and jax.default_backend() == "cpu":
        yield about() | {"skipped": "it is for accelerators; a processor would take too long"}
        return
    case = make_case(settings, RunDirectory(place.folder))
    yield about() | setting_figures(case) | {"variables_sec": case.variables_seconds}
    compilation = timed_compile(case.step, case.new_state(), case.batch)
    yield {"compile_sec": compilation.seconds, "lower_sec": compilation.lowering_seconds}
    with closing(Trainer(case, compilation.compiled)) as trainer:
        random, real = Action(trainer.random_step), Action(trainer.real_step)
        seconds = clock.quartiles(clock.alternating_times({"step": random}, rounds_of(random, steps))["step"])
        yield {
            "iterations_per_sec": 1 / seconds.median,
            "iterations_per_sec_quartiles": [1 / seconds.high, 1 / seconds.low],
            "images_per_sec": case.config.batch_size / seconds.median,
        }
        program_bytes = program_memory(compilation.compiled)
        yield {"program_memory_bytes": program_bytes, "peak_memory_bytes": peak_memory() or program_bytes}
        if real_input:
            times = clock.alternating_times({"random": random, "real": real}, MIN_ROUNDS, warm_up=READ_AHEAD_STEPS)
            overhead = clock.quartiles(clock.speed_ratios(times["random"], times["real"]))
            yield {
                "real_iterations_per_sec": 1 / clock.quartiles(times["real"]).median,
                "input_overhead": overhead.median,
                "input_overhead_quartiles": [overhead.low, overhead.high],
            }
    yield _efficiency(case, compilation, seconds.median)
    if real_input:
        rates = reading.pipeline_rates(case.new_batches, case.workload.steps_per_epoch, case.config.batch_size)
        yield {"input_images_per_sec": rates[0], "input_images_per_sec_decoded": rates[1]}


def restart(settings: Settings, place: Place) -> Iterator[Figures]:
    """The start of a training whose programs are in the cache: those that `step` compiled."""
    case = make_case(settings, RunDirectory(place.folder))
    compilation = timed_compile(case.step, case.new_state(), case.batch)
    yield {
        "variables_sec_cached": case.variables_seconds,
        "compile_sec_cached": compilation.seconds,
        "lower_sec_cached": compilation.lowering_seconds,
    }


def inference(settings: Settings, place: Place, *, batch_sizes: Sequence[int]) -> Iterator[Figures]:
    """The pace of inference, by batch size. The first call compiles."""
    case = make_case(settings, RunDirectory(place.folder))
    yield about() | setting_figures(case)
    for size in batch_sizes:
        call = Action(inference_call(case, size))
        first = clock.seconds_per_step(call, 1)
        seconds = clock.quartiles(clock.alternating_times({"call": call}, MIN_ROUNDS)["call"]).median
        yield {
            "inference": {
                size: {"images_per_sec": size / seconds, "milliseconds": 1000 * seconds, "first_call_sec": first}
            }
        }


def profile(settings: Settings, place: Place, *, trace_dir: str | None = None) -> Iterator[Figures]:
    """What a training step spends its time on. The trace stays in `trace_dir`. UserError if it is empty."""
    case = make_case(settings, RunDirectory(place.folder))
    yield about() | setting_figures(case)
    compiled = timed_compile(case.step, case.new_state(), case.batch).compiled
    folder = Path(trace_dir) if trace_dir else place.folder / "trace"
    with closing(Trainer(case, compiled)) as trainer:
        try:
            found = trace_profile(trainer.random_step, TRACED_STEPS, folder, compiled.as_text() or "")
        except ValueError as e:
            raise UserError(f"{e}; on a GPU the profiler needs CUPTI, and the right to use it") from None
    operations = [
        {"name": one.name, "kind": one.instruction.kind, "path": one.instruction.path, "share": one.share}
        for one in found.operations[:NAMED_OPERATIONS]
    ]
    yield {"profile": {"kinds": found.kinds, "stages": found.stages}, "operations": operations}


def memory(settings: Settings, place: Place, *, batch_sizes: Sequence[int]) -> Iterator[Figures]:
    """The memory that the compiled training step needs on one device, by batch size, the smallest first."""
    case = make_case(settings, RunDirectory(place.folder))
    yield about() | setting_figures(case)
    for size in batch_sizes:
        compilation = timed_compile(case.step, case.new_state(), case.batch_shapes(size))
        yield {"memory": {size: {"bytes": program_memory(compilation.compiled), "compile_sec": compilation.seconds}}}


def about(*packages: str) -> Figures:
    """The device, and the versions of what runs on it."""
    return {"device": device_name(), "versions": package_versions(*packages)}


def setting_figures(case: Case) -> Figures:
    """The settings that tell one case from another."""
    names = ("task", "preset", "arch", "batch_size", "image_size", "dtype")
    return {name: getattr(case.config, name) for name in names}


def rounds_of(action: Action, steps: int) -> int:
    """The number of blocks that have about `steps` steps, at least `MIN_ROUNDS`. Warms up."""
    seconds = clock.seconds_per_step(action, 1, clock.WARM_UP_STEPS)
    return max(MIN_ROUNDS, round(steps * seconds / max(seconds, clock.MIN_BLOCK_SECONDS)))


def _efficiency(case: Case, compilation: Compilation, seconds: float) -> Figures:
    """The operations and bytes of a step on all devices, and how close it comes to the peak of the devices."""
    devices = jax.local_device_count()
    cost = step_cost(compilation, case.step_on_one_device, *case.one_device_shapes())
    flops, moved = cost.flops * devices, cost.moved_bytes * devices
    peak = matmul_flops_per_second(case.config.dtype) * devices
    bandwidth = memory_bandwidth() * devices
    return {
        "flops_per_step": flops,
        "flops_source": cost.source,
        "bytes_per_step": moved,
        "flops_per_sec": flops / seconds,
        "peak_flops_per_sec": peak,
        "peak_fraction": flops / seconds / peak,
        "bandwidth_bytes_per_sec": bandwidth,
        "bandwidth_fraction": moved / seconds / bandwidth,
        "floor_sec": max(flops / peak, moved / bandwidth),
    }
