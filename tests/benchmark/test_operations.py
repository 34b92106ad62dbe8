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


class Expected(NamedTuple):
    """Operations of the step; `transposes` is the most there may be, for they are what creeps in."""

    convolutions: int
    products: int
    transposes: int
    gflop: float
    gigabytes: float


EXPECTED = {
    "align": Expected(convolutions=2, products=539, transposes=209, gflop=177.1, gigabytes=61.1),
    "detect": Expected(convolutions=47, products=350, transposes=224, gflop=9.53, gigabytes=5.72),
}


def shape(*size: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(size, dtype)


def lower(
    config: TrainConfig, variables: Any, loss: Loss, batch: dict[str, Any], rules: Rules = TOWER_RULES
) -> jax.stages.Lowered:
    step = make_train_step(loss, config, rules)
    state = jax.eval_shape(lambda v: create_state(v, config, rules), variables)
    return jax.jit(step, donate_argnums=0).lower(state, batch)


def align() -> jax.stages.Lowered:
    config, clip = new_config({}), ARCHITECTURES["RN50"]
    assert isinstance(config, AlignConfig)
    variables = init_shapes(clip, False)
    n, size = config.batch_size, config.image_size
    batch = {"image": shape(n, size, size, 3, dtype=jnp.uint8), "target": shape(n, CLASSES)}
    texts = jnp.eye(CLASSES, clip.embed_dim)
    return lower(config, variables, make_align_loss(CLIP(clip), texts, config.temperature), batch)


def detect() -> jax.stages.Lowered:
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
    return lower(config, variables, make_detect_loss(model, texts), batch, RULES)


@pytest.mark.parametrize("task", [align, detect])
def test_a_training_step_does_no_more_than_it_did(task: Any) -> None:
    lowered, expected = task(), EXPECTED[task.__name__]
    text = lowered.as_text()
    counts = [len(re.findall(rf"stablehlo\.{name}\b", text)) for name in OPERATIONS]
    cost = lowered.cost_analysis()
    found = Expected(*counts, cost["flops"] / 1e9, cost["bytes accessed"] / 1e9)
    assert found[:2] == expected[:2], found
    assert found.transposes <= expected.transposes, found
    assert found.gflop == pytest.approx(expected.gflop, rel=0.01), found
    assert found.gigabytes == pytest.approx(expected.gigabytes, rel=0.05), found
    assert "callback" not in text  # nothing asks the host in the middle of a step
    # The state's memory is used again for the new state.
    parameters = len(jax.tree.leaves(lowered.in_avals))
    assert text.count("tf.aliasing_output") + text.count("jax.buffer_donor") > 0.9 * (parameters - 8)
