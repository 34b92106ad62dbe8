"""A CLIP small enough to train in float64, batches for it, and its training step on any number of devices."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.clip.model import CLIP, Variables
from remoteclip_jax.runtime.devices import AXIS
from remoteclip_jax.tasks.contrast.config import ContrastConfig
from remoteclip_jax.tasks.contrast.loss import make_contrast_loss
from remoteclip_jax.tasks.contrast.workload import RULES
from remoteclip_jax.training.state import TrainState, create_state, unpacked
from remoteclip_jax.training.step import make_train_step

SHAPE = dataclasses.replace(ARCHITECTURES["tiny"], image_size=32, vision_width=8, text_layers=1, vocab_size=512)
LENGTH = 16  # tokens
CONFIG = ContrastConfig(
    arch="tiny",
    image_size=32,
    batch_size=8,
    learning_rate=1e-3,
    schedule="cosine",
    weight_decay=0.2,
    decay_vectors=False,
    beta2=0.98,
)
Step = Callable[[TrainState, dict[str, Any]], tuple[TrainState, dict[str, Any]]]


def config(**changes: Any) -> ContrastConfig:
    """`CONFIG` with some settings changed."""
    return dataclasses.replace(CONFIG, **changes)


def batch(seed: int, index: Sequence[int] = range(8)) -> dict[str, np.ndarray]:
    """Random images and texts. Where `index` has a number twice, the image is the same, and the text another one."""
    rng = np.random.default_rng([7, seed])
    images = rng.integers(0, 256, (max(index) + 1, 32, 32, 3), dtype=np.uint8)
    ids = rng.integers(1, SHAPE.vocab_size - 1, (len(index), LENGTH))
    end = rng.integers(3, LENGTH, (len(index), 1))
    ids = np.where(np.arange(LENGTH) < end, ids, np.where(np.arange(LENGTH) == end, SHAPE.vocab_size - 1, 0))
    return {"image": images[list(index)], "ids": ids.astype(np.int32), "index": np.array(index, np.int32)}


def double(variables: Variables) -> Variables:
    """`variables` in float64; to be called under `jax.enable_x64`."""
    return dict(jax.tree.map(lambda x: np.asarray(x, np.float64), variables))


def contrast_loss(settings: ContrastConfig, axis_name: str | None = None, dtype: Any = jnp.float64) -> Any:
    """The loss of `settings`."""
    return make_contrast_loss(CLIP(SHAPE, dtype, axis_name), settings)


def new_state(settings: ContrastConfig, variables: Variables, total_steps: int = 60) -> TrainState:
    """The state before the first of `total_steps`."""
    return create_state(variables, settings, RULES[settings.freeze], total_steps)


def train_step(settings: ContrastConfig, dtype: Any = jnp.float64) -> Step:
    """The compiled training step, on one device."""
    return jax.jit(make_train_step(contrast_loss(settings, None, dtype), settings, RULES[settings.freeze]))


def step_on(devices: int, settings: ContrastConfig, variables: Variables, one: dict[str, np.ndarray]) -> Any:
    """The metrics and the unpacked state after one step on some of this process's devices, from float64 `variables`. As
    in `runtime.devices.parallel`, which takes all devices."""
    step = jax.pmap(
        make_train_step(contrast_loss(settings, AXIS), settings, RULES[settings.freeze], AXIS),
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=None,
        devices=jax.local_devices()[:devices],
    )
    split = {name: x.reshape(devices, -1, *x.shape[1:]) for name, x in one.items()}
    state, metrics = step(new_state(settings, variables), split)
    return jax.device_get(metrics), unpacked(state)


def by_name(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a tree by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def assert_close(found: Any, expected: Any, bound: float) -> None:
    """Every array within `bound` of the expected one, relative to its norm. The keys' bias in attention is invisible to
    softmax: its gradient is nothing but rounding errors, of which Adam makes steps of some 1e-10."""
    found, expected = by_name(found), by_name(expected)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.linalg.norm(found[name] - value) <= bound * np.linalg.norm(value) + 1e-10, name
