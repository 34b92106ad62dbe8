"""One, two and four devices have the same loss and gradients: of a batch whose objects are spread unevenly over them.

The devices are `vmap`'s, which knows the axis by the same name as pmap and compiles for one.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remoteclip_jax.detector.model import Detector
from remoteclip_jax.detector.recognition import recognition_loss
from remoteclip_jax.detector.supervision import Truth, detection_loss
from remoteclip_jax.runtime.devices import AXIS, sample_keys
from tests.detector.small_model import SMALL, TINY, quick, random_images, random_texts, random_variables

CLASSES, SLOTS, IMAGES = 5, 6, 4
LEARNING = ("class_head", "boxes_1")  # parts, which compile faster than all
VARIABLES = random_variables(SMALL)


def truth() -> Truth:
    """None, one, none and five objects; a crowd in the second image."""
    rng = np.random.default_rng(4)
    size = rng.uniform(0.1, 0.4, (IMAGES, SLOTS, 2))
    boxes = np.concatenate([rng.uniform(size / 2, 1 - size / 2), size], -1).astype(np.float32)
    real = np.arange(SLOTS) < np.array([0, 1, 0, 5])[:, None]
    ignored = np.tile(np.array([0.4, 0.4, 0.5, 0.5], np.float32), (IMAGES, 1, 1))
    labels = rng.integers(0, CLASSES, (IMAGES, SLOTS)).astype(np.int32)
    return Truth(boxes, labels, real, ignored, np.array([[-1], [2], [-1], [-1]], np.int32))


def detect(learning: Any, images: Any, truth: Truth, axis: str | None) -> Any:
    params = {**VARIABLES["params"], **learning}
    variables = {"params": params, "batch_stats": VARIABLES["batch_stats"]}
    model, texts = Detector(TINY, SMALL, axis_name=axis), jnp.asarray(random_texts(CLASSES))
    return detection_loss(model, variables, images, texts, truth, jax.random.key(3), axis)


def recognise(learning: Any, images: Any, truth: Truth, axis: str | None) -> Any:
    """Labelled object crops on one device of two, and on two of four."""
    params = {**VARIABLES["params"], **learning}
    variables = {"params": params, "batch_stats": VARIABLES["batch_stats"]}
    model, texts = Detector(TINY, SMALL, axis_name=axis), jnp.asarray(random_texts(CLASSES))
    label = jnp.where(truth.real[:, 0], truth.labels[:, 0], -1)
    shown = jnp.arange(CLASSES) == label[:, None]
    return recognition_loss(model, variables, images, texts, label, shown, ~shown & False, axis)


def on_devices(loss: Any, devices: int, names: tuple[str, ...]) -> tuple[Any, Any]:
    """Loss with its parts, and gradients, averaged over the devices as the training step does."""
    learning = {name: VARIABLES["params"][name] for name in names}

    def one(images: Any, of: Truth) -> Any:
        (value, (parts, _)), gradients = jax.value_and_grad(loss, has_aux=True)(learning, images, of, AXIS)
        return jax.lax.pmean((value, parts, gradients), AXIS)

    def split(x: Any) -> Any:
        return jnp.asarray(x).reshape(devices, IMAGES // devices, *x.shape[1:])

    inputs = jax.tree.map(split, (random_images(IMAGES), truth()))
    value, parts, gradients = jax.tree.map(lambda x: np.asarray(x[0]), quick(jax.vmap(one, axis_name=AXIS))(*inputs))
    return {"loss": value, **parts}, gradients


@pytest.mark.parametrize(("loss", "names"), [(detect, LEARNING), (recognise, ("class_head",))])
def test_any_number_of_devices_has_the_same_loss_and_gradients(loss: Any, names: tuple[str, ...]) -> None:
    expected, gradients = on_devices(loss, 1, names)
    for devices in (2, 4):
        found, others = on_devices(loss, devices, names)
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=2e-4), name
        for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(gradients), jax.tree.leaves(others), strict=True):
            assert np.linalg.norm(a - b) <= 2e-3 * np.linalg.norm(a) + 1e-6, path


def test_a_sample_has_the_same_randomness_wherever_it_is() -> None:
    def keys(devices: int) -> Any:
        count = IMAGES // devices
        make = jax.vmap(lambda _: sample_keys(jax.random.key(1), count, AXIS), axis_name=AXIS)
        return jax.random.key_data(make(jnp.zeros(devices))).reshape(IMAGES, -1)

    for devices in (1, 2, 4):
        np.testing.assert_array_equal(keys(devices), jax.random.key_data(sample_keys(jax.random.key(1), IMAGES, None)))
