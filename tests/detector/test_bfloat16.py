"""A detector that computes in bfloat16 has float32's loss and predictions, as far as eight bits go."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remoteclip_jax.detector.model import Detector
from remoteclip_jax.detector.supervision import Truth, detection_loss
from tests.detector.small_model import SMALL, TINY, quick, random_images, random_texts, random_variables

CLASSES, IMAGES, SLOTS = 5, 2, 4
CONFIG = SMALL.replace(layers=1)
VARIABLES = random_variables(CONFIG)
TYPES = (jnp.float32, jnp.bfloat16)


def test_loss_and_gradients() -> None:
    rng = np.random.default_rng(4)
    size = rng.uniform(0.1, 0.4, (IMAGES, SLOTS, 2))
    boxes = np.concatenate([rng.uniform(size / 2, 1 - size / 2), size], -1).astype(np.float32)
    real = np.arange(SLOTS) < np.array([1, 3])[:, None]
    truth = Truth(boxes, rng.integers(0, CLASSES, (IMAGES, SLOTS)).astype(np.int32), real)
    texts, images = jnp.asarray(random_texts(CLASSES)), random_images(IMAGES)

    def loss(heads: Any, dtype: Any) -> Any:
        variables = {**VARIABLES, "params": {**VARIABLES["params"], **heads}}
        model = Detector(TINY, CONFIG, dtype)
        return detection_loss(model, variables, images, texts, truth, jax.random.key(3), None)

    heads = {name: VARIABLES["params"][name] for name in ("class_head", "boxes_0")}
    expected, found = (
        jax.device_get(quick(jax.value_and_grad(lambda x, dtype=dtype: loss(x, dtype), has_aux=True))(heads))
        for dtype in TYPES
    )
    assert found[0][0] == pytest.approx(expected[0][0], rel=0.05)
    for name, value in expected[0][1][0].items():
        assert found[0][1][0][name] == pytest.approx(value, rel=0.2, abs=0.02), name
    for x in jax.tree.leaves((found[0][1][1], found[1])):  # statistics and gradients are those of float32 parameters
        assert x.dtype == np.float32
        assert np.isfinite(x).all()


def test_predictions() -> None:
    """Of the encoder's positions, which are the same ones in both types; queries are chosen among them by score."""
    texts, images = random_texts(CLASSES), random_images(IMAGES)
    expected, found = (
        jax.device_get(quick(Detector(TINY, CONFIG, dtype).apply)(VARIABLES, images, texts)) for dtype in TYPES
    )
    assert np.abs(found.dense.boxes.astype(np.float32) - expected.dense.boxes).mean() < 0.01
    spread = expected.dense.logits.std()
    assert np.abs(found.dense.logits.astype(np.float32) - expected.dense.logits).mean() < 0.1 * spread
    for x in found.layer(-1)[:2]:
        assert np.isfinite(x.astype(np.float32)).all()
