"""All that changes during training, as one pytree."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int


class TrainState(NamedTuple):
    """`step` counts the updates done, `total_steps` those planned, for the schedule. There is no random key in here:
    randomness follows from the seed and the step."""

    step: Int[Array, ""]
    total_steps: Int[Array, ""]
    params: dict[str, Any]
    batch_stats: dict[str, Any]
    opt_state: optax.OptState


def create_state(variables: dict[str, Any], optimizer: optax.GradientTransformation, total_steps: int) -> TrainState:
    """The state before the first step."""
    params = variables["params"]
    return TrainState(
        jnp.zeros((), jnp.int32), jnp.asarray(total_steps, jnp.int32), params, variables["batch_stats"],
        optimizer.init(params),
    )  # fmt: skip


def trainable(params: dict[str, Any]) -> dict[str, Any]:
    """The part of `params` that gets gradients."""
    return {"visual": params["visual"]}


def stored(params: dict[str, Any]) -> dict[str, Any]:
    """The part of `params` that a checkpoint stores: all but the text tower, which is stored once for the whole run."""
    return {name: value for name, value in params.items() if name != "text"}
