"""What `contrast` computes on some of this process's devices. (Without PyTorch, which takes seconds to import.)"""

import pickle
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from remoteclip_jax.clip.model import init
from remoteclip_jax.runtime.devices import AXIS
from remoteclip_jax.tasks.contrast.loss import info_nce
from tests.tasks.contrast.small_problem import SHAPE, batch, config, double, step_on

N, D, LOG_SCALE = 8, 16, np.log(1 / 0.07)
TWICE = {  # which rows show one image
    "no image twice": range(N),
    "on one device": [0, 0, 1, 2, 3, 4, 5, 6],
    "on two devices": [0, 1, 2, 3, 0, 4, 5, 3],
    "three times": [5, 1, 5, 2, 3, 4, 6, 5],
}


def embeddings(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images, texts = rng.normal(size=(2, N, D))
    texts += images  # a pair is alike, more or less
    return images / np.linalg.norm(images, axis=-1, keepdims=True), texts / np.linalg.norm(
        texts, axis=-1, keepdims=True
    )


def ours(devices: int | None, identity: Any) -> tuple[Any, ...]:
    """The loss and its gradients: averaged over devices where `devices` says how many, as the training step does."""
    axis_name = AXIS if devices else None

    def loss(images: Any, texts: Any, log_scale: Any, identity: Any) -> Any:
        return info_nce(images, texts, jnp.exp(log_scale), identity, axis_name)

    def with_gradients(*arguments: Any) -> Any:
        return jax.value_and_grad(loss, (0, 1, 2))(*arguments)

    images, texts = embeddings()
    arguments = (images, texts, np.float64(LOG_SCALE), np.asarray(identity, np.int32))
    with jax.enable_x64(True):
        if devices is None:
            value, gradients = jax.jit(with_gradients)(*arguments)
            return np.asarray(value), *map(np.asarray, gradients)
        mapped = jax.pmap(with_gradients, AXIS, in_axes=(0, 0, None, 0), devices=jax.local_devices()[:devices])
        split = (x.reshape(devices, -1, *x.shape[1:]) if x.ndim else x for x in arguments)
        value, (of_images, of_texts, of_scale) = jax.device_get(mapped(*split))
        # The gradient of the mean over the devices: a device's rows have theirs from all devices' losses.
        whole = [x.reshape(N, D) / devices for x in (of_images, of_texts)]
        return value.mean(), *whole, of_scale.mean()


def write(path: Path) -> None:
    """Compute on four devices what the tests of this file compare."""
    results: dict[str, Any] = {name: ours(4, identity) for name, identity in TWICE.items()}
    results["step"] = training_step(4)
    path.write_bytes(pickle.dumps(results))


def training_step(devices: int) -> Any:
    """A step from random weights, with an image that is twice in the batch, at both its ends."""
    with jax.enable_x64(True):
        variables = double(init(SHAPE, jax.random.key(0)))
        return step_on(devices, config(), variables, batch(0, index=[0, 1, 2, 3, 4, 5, 6, 0]))
