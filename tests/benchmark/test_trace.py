"""A profile read back: instructions by kind and place, events by their own time, on a processor and on a GPU."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from remoteclip_jax.benchmark.instructions import Instruction, parse_instructions
from remoteclip_jax.benchmark.trace import Event, device_events, profile_from_events, trace_profile

PROGRAM = """
HloModule jit_step

%fused (p: f32[8,8], q: f32[8,8]) -> f32[8,8] {
  %p = f32[8,8]{1,0} parameter(0)
  %q = f32[8,8]{1,0} parameter(1)
  ROOT %dot.1 = f32[8,8]{1,0} dot(%p, %q), metadata={op_name="jit(step)/jvp(CLIP)/visual/layer1/0/conv1/dot_general"}
}

%moved (r: f32[8,8]) -> f32[8,8] {
  %r = f32[8,8]{1,0} parameter(0)
  ROOT %transpose.1 = f32[8,8]{0,1} transpose(%r), dimensions={1,0}
}

ENTRY %main (a: f32[8,8]) -> (f32[8,8], f32[]) {
  %a = f32[8,8]{1,0} parameter(0)
  %fusion.3 = f32[8,8]{1,0} fusion(%a, %a), kind=kLoop, calls=%fused
  %fusion.4 = f32[8,8]{1,0} fusion(%a), kind=kLoop, calls=%moved, metadata={op_name="jit(step)/matching/transpose"}
  %scaled.5 = f32[8,8]{1,0} multiply(%a, %a), metadata={op_name="jit(step)/jvp(CLIP)/visual/layer1/0/bn1/mul"}
  %updated.6 = f32[8,8]{1,0} add(%a, %a), metadata={op_name="jit(step)/optimizer/add"}
  %fusion.7 = (f32[8]{0}, f32[8]{0}, /*index=2*/f32[8]{0}) fusion(%a), calls=%moved, metadata={op_name="losses/x"}
  %conv.8 = (f32[8]{0}, u8[0]{0}) custom-call(%a), custom_call_target="__cudnn$conv", metadata={op_name="visual/conv1"}
  ROOT %tuple = (f32[8,8]{1,0}, f32[]) tuple(%updated.6, %a)
}
"""


@pytest.mark.parametrize(
    ("name", "kind", "stage"),
    [
        ("fusion.3", "matmul/conv", "backbone"),  # its place is that of the product inside it
        ("fusion.4", "data movement", "matching"),
        ("scaled.5", "normalisation", "backbone"),
        ("updated.6", "other", "optimizer"),
        ("fusion.7", "data movement", "losses"),  # the type of its result has a comment
        ("conv.8", "matmul/conv", "backbone"),  # a library's
    ],
)
def test_instructions_have_a_kind_and_a_stage(name: str, kind: str, stage: str) -> None:
    found = parse_instructions(PROGRAM)[name]
    assert (found.kind, found.stage) == (kind, stage)


def test_an_operation_counts_without_those_inside_it() -> None:
    known = {"loop": Instruction("other", ""), "product": Instruction("matmul/conv", "/visual/")}
    found = profile_from_events([[Event("loop", 0, 10), Event("product", 2, 5), Event("product", 5, 8)]], known)
    assert {operation.name: pytest.approx(operation.share) for operation in found.operations} == {
        "loop": 0.4,
        "product": 0.6,
    }
    assert found.stages["backbone"] == pytest.approx(0.6)


def test_threads_side_by_side_share_the_time_and_gaps_are_the_hosts() -> None:
    known = {"a": Instruction("other", ""), "b": Instruction("matmul/conv", "")}
    found = profile_from_events([[Event("a", 0, 4), Event("a", 8, 10)], [Event("b", 0, 6)]], known)
    assert found.kinds["host"] == pytest.approx(0.2)  # from 6 to 8 of 10
    assert found.kinds["matmul/conv"] == pytest.approx(0.8 * 6 / 12)
    assert sum(found.kinds.values()) == pytest.approx(1)
    assert sum(found.stages.values()) == pytest.approx(1)


def test_a_real_trace_is_read_back(tmp_path: Path) -> None:
    compiled = jax.jit(lambda x: jnp.sin(x @ x)).lower(jnp.ones((256, 256))).compile()
    found = trace_profile(lambda: compiled(jnp.ones((256, 256))), 3, tmp_path, compiled.as_text() or "")
    assert found.kinds["matmul/conv"] > 0
    assert sum(found.kinds.values()) == pytest.approx(1)


def plane(name: str, lines: dict[str, list[tuple[str, float, float, dict[str, str]]]]) -> Any:
    """A plane as `jax.profiler.ProfileData` has it. Events are (name, begin, duration, stats)."""

    def event(name: str, begin: float, duration: float, stats: dict[str, str]) -> Any:
        return SimpleNamespace(name=name, start_ns=begin, duration_ns=duration, stats=list(stats.items()))

    found = [SimpleNamespace(name=line, events=[event(*one) for one in events]) for line, events in lines.items()]
    return SimpleNamespace(name=name, lines=found)


def test_a_gpus_kernels_count_and_not_the_hosts_launches() -> None:
    kernels = [
        ("loop_add_fusion", 0.0, 10.0, {"hlo_op": "fusion.4", "hlo_module": "jit_step"}),
        ("sm90_xmma_gemm_bf16", 10.0, 20.0, {"hlo_op": "custom.9", "tf_op": "jit(step)/visual/dot_general"}),
        ("loop_convert_fusion", 30.0, 5.0, {"hlo_op": "wrapped.1", "name": "jit(step)/class_head/convert"}),
    ]
    copies = [("MemcpyD2D", 40.0, 5.0, dict[str, str]())]
    planes = [
        plane("/host:CPU", {"python": [("launch", 0.0, 90.0, {"hlo_op": "fusion.4"})]}),
        plane("/device:GPU:0", {"Stream #7(Compute)": kernels, "Stream #9(Memcpy)": copies, "Steps": kernels}),
        plane("/device:CUSTOM:Threads", {"Stream #1": kernels}),
    ]
    found = profile_from_events(device_events(planes), parse_instructions(PROGRAM))
    of = {operation.name: operation for operation in found.operations}
    assert {name: (one.instruction.kind, one.instruction.stage) for name, one in of.items()} == {
        "fusion.4": ("data movement", "matching"),  # as the program says
        "custom.9": ("matmul/conv", "backbone"),  # as the trace says, for the program does not name it
        "wrapped.1": ("other", "heads"),
        "MemcpyD2D": ("data movement", "other"),
    }
    assert of["custom.9"].share == pytest.approx(20 / 45)
    assert found.kinds["host"] == pytest.approx(5 / 45)  # from 35 to 40


def test_on_a_processor_only_events_that_name_an_instruction_count() -> None:
    threads = {"a": [("fusion.4", 0.0, 4.0, {"hlo_op": "fusion.4"}), ("Execute", 0.0, 9.0, dict[str, str]())]}
    assert device_events([plane("/host:CPU", threads), plane("/host:metadata", {})]) == [
        [Event("fusion.4", 0.0, 4.0, "fusion.4")]
    ]


def test_an_empty_trace_is_told() -> None:
    with pytest.raises(ValueError, match="no operations"):
        profile_from_events(device_events([plane("/device:GPU:0", {})]), {})
