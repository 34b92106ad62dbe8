"""Everything that changes during training, as one pytree."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from remoteclip_jax.clip.model import Variables


class TrainState(NamedTuple):
    """The state of a training.

    `step` counts the updates done, `total_steps` those planned. The first `first_steps` of these are the first phase.
    Both matter to the schedule. `ema` is the moving average of `params` and `batch_stats`, or None.

    There is no random key here: randomness follows from `seed` and `step`. The seed is part of the state, rather than
    of the program, so that runs of different seeds share one compilation. There is no text tower, since no step needs
    it.
    """

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


def trainable_params(params: dict[str, Any], labels: dict[str, Any]) -> dict[str, Any]:
    """The part of `params` that gets gradients: all but the modules whose labels (see `optimizer`) are all "frozen"."""
    return {name: value for name, value in params.items() if set(jax.tree.leaves(labels[name])) != {"frozen"}}


def evaluation_variables(state: TrainState) -> Variables:
    """The variables to evaluate and to deploy: the moving average if there is one."""
    return state.ema or {"params": state.params, "batch_stats": state.batch_stats}
