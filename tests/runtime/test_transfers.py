"""Weights lie on the device: nothing but the inputs travels there, explicitly."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import remoteclip_jax as rc
from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.clip.model import CLIP, init, one_tower
from remoteclip_jax.clip.weights import save_weights
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runtime.devices import AXIS, parallel, replicate, split_batch
from remoteclip_jax.tasks.align.loss import make_align_loss
from remoteclip_jax.training.meter import Meter
from remoteclip_jax.training.optimizer import make_optimizer, make_schedule
from remoteclip_jax.training.state import TrainState, create_state
from remoteclip_jax.training.step import make_train_step

TINY = ARCHITECTURES["tiny"]


def test_the_guard_sees_what_an_implicit_transfer_is() -> None:
    with jax.transfer_guard("disallow"), pytest.raises(Exception, match="Disallowed"):
        jax.jit(lambda x: x + 1)(np.ones(3))


def test_embedding_carries_the_inputs_alone(tmp_path: Path) -> None:
    save_weights(tmp_path / "weights", TINY, init(TINY, jax.random.key(0)), {})
    clip = rc.load(tmp_path / "weights")
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(clip.variables))
    images = rc.preprocess([Image.new("RGB", (70, 50))] * 2, clip)
    expected = rc.encode_image(clip, images), rc.encode_text(clip, ["a ship", "a dam"])  # and compiles
    with jax.transfer_guard("disallow"):
        found = rc.encode_image(clip, images), rc.encode_text(clip, ["a ship", "a dam"])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_detecting_carries_the_inputs_alone(detect_run: Path) -> None:
    detector, image = rc.load_detector(detect_run), Image.new("RGB", (70, 50), (90, 120, 60))
    expected = rc.detect(detector, image, score_threshold=0.0)
    with jax.transfer_guard("disallow"):
        found = rc.detect(detector, image, score_threshold=0.0)
    np.testing.assert_array_equal(found.boxes, expected.boxes)


def test_a_training_step_carries_its_batch_alone() -> None:
    """Nor does the state hold a text tower, which no step needs."""
    config, model = TrainConfig(image_size=64), CLIP(TINY, axis_name=AXIS)
    optimizer, rng = make_optimizer(config), np.random.default_rng(0)
    loss = make_align_loss(model, jnp.eye(20, TINY.embed_dim), 0.07)
    step = parallel(make_train_step(loss, optimizer, make_schedule(config), axis_name=AXIS), donate_first=True)
    variables = one_tower(init(TINY, jax.random.key(0)), "visual")
    state: TrainState = replicate(create_state(variables, optimizer, 3))
    assert set(state.params) == {"visual", "logit_scale"}
    batch: dict[str, Any] = {
        "image": rng.integers(0, 256, (4, 64, 64, 3), np.uint8),
        "target": np.eye(4, 20, dtype=np.float32),
    }
    meter = Meter()
    for done in (1, 2):
        with jax.transfer_guard("disallow" if done == 2 else "allow"):
            state, metrics = step(state, split_batch(batch))
            meter.add(done, metrics)
    assert meter.means()["loss"] > 0
