"""Which parameters train, which are frozen, and the learning rate's course."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.clip.model import init_shapes
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.tasks.configuration import new_config
from remoteclip_jax.tasks.detect.workload import RULES
from remoteclip_jax.training.optimizer import label_parameters, make_optimizer, make_schedule
from remoteclip_jax.training.state import create_state
from remoteclip_jax.training.step import make_train_step

TINY = ARCHITECTURES["tiny"]


def test_every_parameter_of_rn50_is_labelled() -> None:
    params = init_shapes(ARCHITECTURES["RN50"])["params"]
    labels = label_parameters(params)
    assert set(jax.tree.leaves(labels["visual"])) == {"train"}
    assert set(jax.tree.leaves({k: v for k, v in labels.items() if k != "visual"})) == {"frozen"}


def test_an_unlabelled_parameter_is_an_error() -> None:
    with pytest.raises(ValueError, match="surprise/kernel"):
        label_parameters({"visual": {"kernel": 0}, "surprise": {"kernel": 0}})


def test_frozen_parameters_have_no_moments() -> None:
    variables = init_shapes(TINY)
    state = jax.eval_shape(lambda given: create_state(given, TrainConfig()), variables)
    moments = sum(x.size for x in jax.tree.leaves(state.opt_state))
    trained = sum(x.size for x in jax.tree.leaves(variables["params"]["visual"]))
    assert 2 * trained <= moments < 2 * trained + 10  # and a few counters


def bits(tree: object) -> list[bytes]:
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


def test_a_step_keeps_every_bit_of_frozen_parameters() -> None:
    """Where the loss depends on them, and where adding a zero would change a bit."""

    def loss(params: dict[str, Any], *_: Any) -> Any:
        return sum(jnp.sum((1 + x) ** 2) for x in jax.tree.leaves(params)), ({}, {})

    params = {
        "visual": {"kernel": jnp.ones(3)},
        "text": {"text_projection": jnp.array([-0.0, 1.0, 2.0])},  # −0.0 + 0.0 is 0.0
        "logit_scale": jnp.asarray(-0.0),
    }
    config = TrainConfig(learning_rate=1e-2)
    step = jax.jit(make_train_step(loss, config))
    state = create_state({"params": params, "batch_stats": {}}, config, total_steps=3)
    for _ in range(3):
        state, _ = step(state, {})
    trained = state.params.unpack()
    assert bits(trained["text"]) == bits(params["text"])
    assert bits(trained["logit_scale"]) == bits(params["logit_scale"])
    assert bits(trained["visual"]) != bits(params["visual"])


def test_without_the_partition_weight_decay_would_move_the_text_tower() -> None:
    """Zero gradients, which are all that stop_gradient gives, do not freeze. The partition is there for this."""
    params = {"visual": {"kernel": jnp.ones((2, 3))}, "text": {"text_projection": jnp.ones((3, 2))}}
    zeros = jax.tree.map(jnp.zeros_like, params)
    for optimizer, moved in ((optax.adamw(1e-2, weight_decay=0.01), True), (make_optimizer(TrainConfig()), False)):
        updates, _ = optimizer.update(zeros, optimizer.init(params), params)
        text = optax.apply_updates(params, updates)["text"]
        assert (bits(text) != bits(params["text"])) is moved


def test_each_phase_has_the_whole_course_of_the_learning_rate() -> None:
    """Ten steps of alignment, thirty of detection: two courses, one after the other."""

    def loss(params: dict[str, Any], *_: Any) -> Any:
        return params["visual"]["w"].sum(), ({}, {})

    config = TrainConfig(schedule="cosine", learning_rate=1e-2)
    state = create_state({"params": {"visual": {"w": jnp.ones(1)}}, "batch_stats": {}}, config, total_steps=40)
    state = state._replace(first_steps=jnp.asarray(10))
    step, rates = jax.jit(make_train_step(loss, config)), []
    for _ in range(40):
        state, metrics = step(state, {})
        rates.append(float(metrics["learning_rate"]))
    course = make_schedule(config)
    expected = [float(course(jnp.asarray(i), jnp.asarray(n))) for n in (10, 30) for i in range(n)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_schedules(schedule: str) -> None:
    rate = jax.vmap(make_schedule(TrainConfig(schedule=schedule, learning_rate=1e-4)), (0, None))
    rates = np.asarray(rate(jnp.arange(100), jnp.asarray(100)))
    assert rates.max() == pytest.approx(1e-4, rel=0.01)
    if schedule == "constant":
        assert np.all(rates == np.float32(1e-4))
    else:
        np.testing.assert_allclose(rates[:5], 1e-4 * np.arange(1, 6) / 5, rtol=0.02)
    if schedule == "cosine":
        assert np.all(np.diff(rates[5:]) < 0)
        assert rates[-1] < 1e-6
    if schedule == "step":
        np.testing.assert_allclose(rates[5:66], 1e-4, rtol=1e-5)
        np.testing.assert_allclose(rates[67:], 1e-5, rtol=1e-5)


def test_weight_decay_may_leave_out_norms_biases_and_scalars() -> None:
    params = {"class_head": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2), "scale": jnp.ones(())}}
    still = jax.tree.map(jnp.zeros_like, params)
    for decay_vectors, moved in ((True, {"kernel", "bias", "scale"}), (False, {"kernel"})):
        config = dataclasses.replace(new_config({"task": "detect", "preset": "tiny"}), decay_vectors=decay_vectors)
        optimizer = make_optimizer(config, RULES)
        updates, _ = optimizer.update(still, optimizer.init(params), params)
        assert {name for name, x in updates["class_head"].items() if np.any(x)} == moved
