"""Operations are counted in the program of the device at hand, also where its own client cannot count."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from remoteclip_jax.benchmark.cases import make_case
from remoteclip_jax.benchmark.compiling import (
    Compilation,
    counted_by_processor,
    program_memory,
    step_cost,
    timed_compile,
)
from remoteclip_jax.ops.convolution import convolve
from remoteclip_jax.runs.directory import RunDirectory

SHAPES = jax.ShapeDtypeStruct((8, 32, 32, 64), jnp.float32), jax.ShapeDtypeStruct((3, 3, 64, 64), jnp.float32)
BY_DEFINITION = 2 * 8 * 64 * 64 * (32 * 3 - 2) ** 2  # a product and a sum; at the border, padding is not counted


def convolution(x: Any, kernel: Any) -> Any:
    return convolve(x, kernel, 1)


def test_a_gpus_program_is_counted_without_winograd() -> None:
    found = counted_by_processor("cuda", convolution, *SHAPES)
    assert found is not None
    assert found["flops"] == BY_DEFINITION


@pytest.mark.parametrize(
    ("counts", "source"), [(False, "for cpu before optimisation, counted by"), (True, "^the program before")]
)
def test_the_source_of_the_count_is_told(counts: bool, source: str) -> None:
    compilation = timed_compile(jax.jit(convolution), *SHAPES)
    assert 0 <= compilation.lowering_seconds <= compilation.seconds
    assert program_memory(compilation.compiled) > 8 * 32 * 32 * 64 * 4
    if not counts:  # as on a GPU
        lowered: Any = SimpleNamespace(cost_analysis=lambda: None)
        compilation = Compilation(lowered, *compilation[1:])
    cost = step_cost(compilation, convolution, *SHAPES)
    assert 0 < cost.flops < BY_DEFINITION  # Winograd's tiles, on the processor that the tests run on
    assert cost.moved_bytes > 0
    assert re.search(source, cost.source)


def test_where_nothing_counts_the_optimised_program_does() -> None:
    silent: Any = SimpleNamespace(cost_analysis=lambda: None)
    compiled: Any = SimpleNamespace(cost_analysis=lambda: {"flops": 5.0, "bytes accessed": 7.0})

    def fails(x: Any) -> Any:
        raise NotImplementedError

    cost = step_cost(Compilation(silent, compiled, 0.0, 0.0), fails, SHAPES[0])
    assert (cost.flops, cost.moved_bytes) == (5.0, 7.0)
    assert cost.source.startswith("the optimised program")


@pytest.mark.parametrize("task", ["align", "detect"])
def test_a_training_step_can_be_counted_for_a_gpu(task: str, tmp_path: Path) -> None:
    case = make_case({"task": task, "preset": "tiny"}, RunDirectory(tmp_path))
    shapes = case.one_device_shapes()
    here = case.step.lower(case.new_state(), case.batch).cost_analysis()["flops"]
    counted = [counted_by_processor(name, case.step_on_one_device, *shapes) for name in ("cpu", "cuda")]
    # The towers are so small that no convolution goes by Winograd's tiles.
    assert [found and found["flops"] for found in counted] == pytest.approx([here, here], rel=0.05)
