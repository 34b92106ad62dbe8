"""A trace_profile read back: parse_instructions by kind and place, events by their own time."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from remoteclip_jax.benchmark.trace import Instruction, parse_instructions, profile_from_events, trace_profile

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
    ],
)
def test_instructions_have_a_kind_and_a_stage(name: str, kind: str, stage: str) -> None:
    found = parse_instructions(PROGRAM)[name]
    assert (found.kind, found.stage) == (kind, stage)


def test_an_operation_counts_without_those_inside_it() -> None:
    known = {"loop": Instruction("other", ""), "product": Instruction("matmul/conv", "/visual/")}
    found = profile_from_events([[("loop", 0, 10), ("product", 2, 5), ("product", 5, 8)]], known)
    assert {operation.name: pytest.approx(operation.share) for operation in found.operations} == {
        "loop": 0.4,
        "product": 0.6,
    }
    assert found.stages["backbone"] == pytest.approx(0.6)


def test_threads_side_by_side_share_the_time_and_gaps_are_the_hosts() -> None:
    known = {"a": Instruction("other", ""), "b": Instruction("matmul/conv", "")}
    found = profile_from_events([[("a", 0, 4), ("a", 8, 10)], [("b", 0, 6)]], known)
    assert found.kinds["host"] == pytest.approx(0.2)  # from 6 to 8 of 10
    assert found.kinds["matmul/conv"] == pytest.approx(0.8 * 6 / 12)
    assert sum(found.kinds.values()) == pytest.approx(1)
    assert sum(found.stages.values()) == pytest.approx(1)


def test_a_real_trace_is_read_back(tmp_path: Path) -> None:
    compiled = jax.jit(lambda x: jnp.sin(x @ x)).lower(jnp.ones((256, 256))).compile()
    found = trace_profile(lambda: compiled(jnp.ones((256, 256))), 3, tmp_path, compiled.as_text() or "")
    assert found.kinds["matmul/conv"] > 0
    assert sum(found.kinds.values()) == pytest.approx(1)
