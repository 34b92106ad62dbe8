"""Packed trees: nothing is lost, the optimizer does not see the difference, and checkpoints hold trees."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.detector.model import detector_shapes
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.tasks.detect.workload import RULES
from remoteclip_jax.training import packing
from remoteclip_jax.training.optimizer import make_optimizer, parameter_groups
from remoteclip_jax.training.packing import Packed, pack
from remoteclip_jax.training.state import create_state, repacked, unpacked

CONFIG = TrainConfig(ema=0.9, clip_norm=1.0, backbone="slow")


def random_tree(shapes: Any, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)


@pytest.fixture(scope="module")
def variables() -> Any:
    return random_tree(detector_shapes(ARCHITECTURES["tiny"], DetectorConfig(width=16, heads=2, layers=1)))


@pytest.fixture(autouse=True)
def some_leaves_are_large(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(packing, "LARGE", 2000)
    packing._layout.cache_clear()
    yield
    packing._layout.cache_clear()


def assert_equal(found: Any, expected: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_packed_tree_has_few_arrays_and_loses_nothing(variables: Any) -> None:
    tree = variables["params"]
    packed = pack(tree, parameter_groups(tree, RULES, "slow"))
    assert sorted(packed.vectors) == [
        "frozen/vectors",
        "slow/matrices",
        "slow/vectors",
        "train/matrices",
        "train/vectors",
    ]
    assert 0 < len(packed.large) < 40 < 200 < len(jax.tree.leaves(tree))
    assert all(isinstance(x, np.ndarray) and x.ndim == 1 for x in jax.tree.leaves(packed))
    assert_equal(packed.unpack(), tree)
    assert_equal(jax.jit(Packed.unpack)(packed), tree)
    assert jax.tree.structure(jax.jit(packed.layout.pack)(tree)) == jax.tree.structure(packed)


def test_a_state_survives_a_checkpoint(variables: Any) -> None:
    """In a checkpoint every tree is the one that Optax makes for a tree of parameters."""
    state = create_state(variables, CONFIG, RULES)
    state = state._replace(opt_state=random_tree(state.opt_state), ema=random_tree(state.ema, 1))
    stored = unpacked(state)
    optimizer = make_optimizer(CONFIG, RULES)
    assert jax.tree.structure(stored.opt_state) == jax.tree.structure(optimizer.init(variables["params"]))
    assert_equal(stored.params, variables["params"])
    shapes = jax.eval_shape(unpacked, state)
    assert jax.tree.map(lambda x: x.shape, shapes) == jax.tree.map(np.shape, stored)
    assert_equal(jax.device_get(repacked(state, stored)), state)


def test_the_state_begins_as_optax_begins(variables: Any) -> None:
    optimizer = make_optimizer(CONFIG, RULES)
    assert_equal(unpacked(create_state(variables, CONFIG, RULES)).opt_state, optimizer.init(variables["params"]))


def test_packed_or_not_the_optimizer_does_the_same(variables: Any) -> None:
    tree, optimizer = variables["params"], make_optimizer(CONFIG, RULES)
    packed = pack(tree, parameter_groups(tree, RULES, CONFIG.backbone))
    update = jax.jit(optimizer.update)
    states = [optimizer.init(tree), optimizer.init(packed)]
    for seed in range(3):
        grads = random_tree(tree, seed)
        updates, states[0] = update(grads, states[0], tree)
        packed_updates, states[1] = update(packed.layout.pack(grads), states[1], packed)
        for a, b in zip(jax.tree.leaves(packed_updates.unpack()), jax.tree.leaves(updates), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
        tree = optax.apply_updates(tree, jax.tree.map(lambda x: 0.1 * x, updates))
        packed = optax.apply_updates(packed, jax.tree.map(lambda x: 0.1 * x, packed_updates))
    assert jnp.asarray(updates["class_head"]["gains"]).any() == False  # noqa: E712  (frozen, in both)
