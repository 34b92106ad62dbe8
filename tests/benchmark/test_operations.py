"""What a training step computes, counted: a change that makes it do more work shows here, on any machine, without a
clock. The counts are of the program that JAX hands to XLA; its cost analysis gives operations and bytes."""

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.clip.model import CLIP, init_shapes
from remoteclip_jax.detector.model import Detector, detector_shapes
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.tasks.align.config import AlignConfig
from remoteclip_jax.tasks.align.loss import make_align_loss
from remoteclip_jax.tasks.configuration import new_config
from remoteclip_jax.tasks.detect.config import DetectConfig
from remoteclip_jax.tasks.detect.loss import make_detect_loss
from remoteclip_jax.tasks.detect.workload import RULES
from remoteclip_jax.training.optimizer import TOWER_RULES, Rules
from remoteclip_jax.training.state import create_state
from remoteclip_jax.training.step import make_train_step
from remoteclip_jax.training.workload import Loss

CLASSES, SLOTS = 20, 16
OPERATIONS = ("convolution", "dot_general", "transpose")


class Bounds(NamedTuple):
    """The most that the program of a step may have, as JAX hands it to XLA for a CPU and for a GPU. Loops of which the
    number of rounds depends on data make a GPU wait for the host each time; the matching has the only one."""

    convolutions: int
    products: int
    transposes: int
    gflop: float
    gigabytes: float
    arrays: int  # of the state
    operations_on_a_gpu: int
    open_loops_on_a_gpu: int


BOUNDS = {
    "align": Bounds(2, 539, 209, 177.1, 61.6, 79, 5_200, 0),
    "detect": Bounds(47, 313, 180, 9.53, 5.69, 30, 13_300, 1),
}


def shape(*size: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(size, dtype)


def trace(
    config: TrainConfig, variables: Any, loss: Loss, batch: dict[str, Any], rules: Rules = TOWER_RULES
) -> jax.stages.Traced:
    step = make_train_step(loss, config, rules)
    state = jax.eval_shape(lambda v: create_state(v, config, rules), variables)
    return jax.jit(step, donate_argnums=0).trace(state, batch)


def align() -> jax.stages.Traced:
    config, clip = new_config({}), ARCHITECTURES["RN50"]
    assert isinstance(config, AlignConfig)
    variables = init_shapes(clip, False)
    n, size = config.batch_size, config.image_size
    batch = {"image": shape(n, size, size, 3, dtype=jnp.uint8), "target": shape(n, CLASSES)}
    texts = jnp.eye(CLASSES, clip.embed_dim)
    return trace(config, variables, make_align_loss(CLIP(clip), texts, config.temperature), batch)


def detect() -> jax.stages.Traced:
    config = new_config({"task": "detect", "preset": "small"})
    assert isinstance(config, DetectConfig)
    clip, n, size = ARCHITECTURES[config.arch], config.batch_size, config.image_size
    variables = detector_shapes(clip, config.detector)
    batch = {
        "image": shape(n, size, size, 3, dtype=jnp.uint8),
        "boxes": shape(n, SLOTS, 4),
        "labels": shape(n, SLOTS, dtype=jnp.int32),
        "real": shape(n, SLOTS, dtype=jnp.bool_),
        "ignored": shape(n, 32, 4),
        "ignored_labels": shape(n, 32, dtype=jnp.int32),
    }
    model, texts = Detector(clip, config.detector), jnp.eye(CLASSES, clip.embed_dim)
    return trace(config, variables, make_detect_loss(model, texts), batch, RULES)


@pytest.mark.parametrize("task", [align, detect])
def test_a_training_step_does_no_more_than_it_did(task: Any) -> None:
    traced, bounds = task(), BOUNDS[task.__name__]
    lowered, on_a_gpu = traced.lower(), traced.lower(lowering_platforms=("cuda",)).as_text()
    text, cost = lowered.as_text(), lowered.cost_analysis()
    counts = [len(re.findall(rf"stablehlo\.{name}\b", text)) for name in OPERATIONS]
    found = Bounds(
        *counts,
        cost["flops"] / 1e9,
        cost["bytes accessed"] / 1e9,
        len(jax.tree.leaves(traced.in_avals)),
        on_a_gpu.count("stablehlo."),
        open_loops(on_a_gpu),
    )
    for name, value in found._asdict().items():
        assert value <= 1.02 * getattr(bounds, name), (name, found)
        assert value >= 0.7 * getattr(bounds, name), (name, found)  # then it is time for a lower bound
    assert "callback" not in text  # nothing asks the host in the middle of a step
    # The state's memory is used again for the new state.
    assert text.count("tf.aliasing_output") + text.count("jax.buffer_donor") > 0.9 * (found.arrays - 8)


def open_loops(text: str) -> int:
    """The loops whose condition is anything but the comparison of a counter with a constant."""
    conditions = re.findall(r"stablehlo\.while.*?cond \{(.*?)\} do \{", text, re.DOTALL)
    counted = re.compile(
        r"\s*%(\w+) = stablehlo\.constant dense<\d+> : tensor<i\d+>\s+"
        r"%\w+ = stablehlo\.compare\s+LT, %iterArg\w*, %\1, SIGNED [^\n]*\s+stablehlo\.return %\w+ : tensor<i1>\s*"
    )
    return sum(not counted.fullmatch(condition) for condition in conditions)
