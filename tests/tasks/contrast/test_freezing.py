"""What is frozen keeps its bits, in spite of weight decay, and in the moving average; everything else changes."""

import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from remoteclip_jax.training.state import unpacked
from tests.tasks.contrast.small_problem import SHAPE, batch, by_name, config, new_state, train_step
from tests.torch_reference import flax_variables, random_clip

STEM = r"visual/(conv[123]/kernel|bn[123]/\w+)"
# What keeps its bits: parameters, and statistics of batch norm.
FROZEN = {"none": r"(?!)", "image": r"visual/.*", "image_stem": STEM, "text": r"text/.*"}
KEY_BIAS = "visual/attnpool/k_proj/bias"  # without any gradient (see `AttentionPool`), and without weight decay


@pytest.fixture(scope="module")
def variables() -> Any:
    return flax_variables(random_clip(SHAPE, seed=0))


@pytest.mark.parametrize("freeze", FROZEN)
def test_three_steps(freeze: str, variables: Any) -> None:
    """Nor does what is frozen count in the norm of the gradient, by which gradients may be clipped: AdamW's first
    moments are a tenth of the gradient after one step."""
    settings = config(freeze=freeze, ema=0.9)
    state, step = new_state(settings, variables), train_step(settings, jnp.float32)
    for seed in range(3):
        state, metrics = step(state, batch(seed))
        if seed == 0:
            moments = [x for name, x in by_name(unpacked(state).opt_state).items() if "/mu/" in name]
            norm = np.sqrt(sum(np.sum(np.square(x, dtype=float)) for x in moments))
            assert norm / 0.1 == pytest.approx(float(metrics["grad_norm"]), rel=1e-4)
    assert state.ema is not None
    trees = {"params": state.params, "batch_stats": state.batch_stats}
    for kind, tree in [*trees.items(), *state.ema.items()]:
        before, after = by_name(variables[kind]), by_name(tree.unpack())
        assert before.keys() == after.keys()
        kept = {name for name, value in before.items() if value.tobytes() == after[name].tobytes()}
        frozen = {name for name in before if re.fullmatch(FROZEN[freeze], name)}
        assert kept - {KEY_BIAS} == frozen - {KEY_BIAS}
