"""All that changes during training, as one pytree."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from remoteclip_jax.clip.model import Variables


class TrainState(NamedTuple):
    """`step` counts the updates done, `total_steps` those planned, for the schedule, of which the first `first_steps`
    are of another kind. `ema` is a moving average of params and batch_stats, or None. There is no
    random key in here, for randomness follows from the `seed` and the step, and no text tower, which no step needs.
    (The seed is here and not in the program, so that runs of several seeds share one compilation.)"""

    seed: Int[Array, ""]
    step: Int[Array, ""]
    total_steps: Int[Array, ""]
    first_steps: Int[Array, ""]
    params: dict[str, Any]
    batch_stats: dict[str, Any]
    opt_state: optax.OptState
    ema: Variables | None = None


def create_state(
    variables: Variables, optimizer: optax.GradientTransformation, total_steps: int, ema: bool = False, seed: int = 0
) -> TrainState:
    """The state before the first step."""
    params = variables["params"]
    return TrainState(
        jnp.asarray(seed, jnp.int32),
        jnp.zeros((), jnp.int32),
        jnp.asarray(total_steps, jnp.int32),
        jnp.zeros((), jnp.int32),
        params,
        variables["batch_stats"],
        optimizer.init(params),
        jax.tree.map(jnp.asarray, dict(variables)) if ema else None,
    )


def trainable(params: dict[str, Any], labels: dict[str, Any]) -> dict[str, Any]:
    """The part of `params` that gets gradients: all but what its labels (see `optimizer`) call frozen altogether."""
    return {name: value for name, value in params.items() if set(jax.tree.leaves(labels[name])) != {"frozen"}}


def evaluated(state: TrainState) -> Variables:
    """The variables to evaluate and to deploy: the moving average where there is one."""
    return state.ema or {"params": state.params, "batch_stats": state.batch_stats}
