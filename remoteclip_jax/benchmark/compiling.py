"""What compiling costs, and what a compiled step costs: operations, bytes and memory."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from remoteclip_jax.runtime.devices import AXIS


class Compilation(NamedTuple):
    """A compiled function. `seconds` are those of tracing, lowering and compiling, `lowering_seconds` those of the
    first two, which every start has to do."""

    lowered: jax.stages.Lowered
    compiled: jax.stages.Compiled
    lowering_seconds: float
    seconds: float


class Cost(NamedTuple):
    """The floating-point operations of a step on one device, the program that they were counted in, and the bytes that
    the optimised program reads and writes."""

    flops: float
    source: str
    moved_bytes: float


def timed_compile(function: Any, *arguments: Any) -> Compilation:
    """Compile a jitted or pmapped function, or read it from the persistent cache."""
    begin = time.perf_counter()
    lowered = function.lower(*arguments)
    middle = time.perf_counter()
    compiled = lowered.compile()
    return Compilation(lowered, compiled, middle - begin, time.perf_counter() - begin)


def step_cost(compilation: Compilation, function: Callable[..., Any], *shapes: Any) -> Cost:
    """The cost of a compiled step, by XLA's cost analysis. `function` is the step on one device, and `shapes` are those
    of its arguments.

    Operations are those of the program before optimisation, because the optimised one may call libraries that XLA
    cannot look into. Where the device's client cannot count them (a GPU's), the processor's does.
    """
    optimised = compilation.compiled.cost_analysis() or {}
    platform = {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
    sources: dict[str, Callable[[], Any]] = {
        "the program before optimisation": compilation.lowered.cost_analysis,
        f"the program for {platform} before optimisation, counted by the processor's client": (
            lambda: counted_by_processor(platform, function, *shapes)
        ),
        "the optimised program, without what it leaves to libraries": lambda: optimised,
    }
    found = ((float((count() or {}).get("flops", 0)), source) for source, count in sources.items())
    flops, source = next(((flops, source) for flops, source in found if flops > 0), (0.0, "none"))
    return Cost(flops, source, float(optimised.get("bytes accessed", 0)))


def counted_by_processor(platform: str, function: Callable[..., Any], *shapes: Any) -> dict[str, float] | None:
    """XLA's cost analysis of the program that `function`, on one device, has on another platform ("cuda"): what
    `jax.lax.platform_dependent` chooses for the processor alone is not in it. None if it cannot be had, as where
    `JAX_PLATFORMS` leaves the processor out."""
    try:
        mesh = Mesh(np.array(jax.local_devices(backend="cpu")[:1]), (AXIS,))  # models average over the devices' axis
        mapped = jax.shard_map(
            function, mesh=mesh, in_specs=PartitionSpec(), out_specs=PartitionSpec(), check_vma=False
        )
        cost: dict[str, float] | None
        cost = jax.jit(mapped).trace(*shapes).lower(lowering_platforms=(platform,)).cost_analysis()
        return cost
    except (RuntimeError, ValueError, NotImplementedError):
        return None


def program_memory(compiled: jax.stages.Compiled) -> int:
    """The bytes that a compiled program needs on one device: arguments, results and what lies between."""
    need = compiled.memory_analysis()
    assert need is not None
    outputs = need.output_size_in_bytes - need.alias_size_in_bytes
    return int(need.argument_size_in_bytes + outputs + need.temp_size_in_bytes)
