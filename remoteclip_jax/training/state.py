"""Everything that changes during training, as one pytree."""

from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Array, Int32

from remoteclip_jax.clip.model import Variables
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runtime.devices import replicate
from remoteclip_jax.training.optimizer import TOWER_RULES, Rules, make_optimizer, parameter_groups
from remoteclip_jax.training.packing import Packed, is_packed, pack

Count = Int32[Array, ""] | Int32[np.ndarray, ""]


class TrainState(NamedTuple):
    """The state of a training.

    `step` counts the updates done, `total_steps` those planned. The first `first_steps` of these are the first phase.
    Both matter to the schedule. `ema` is the moving average of `params` and `batch_stats`, or None. On the device all
    trees of parameters are packed; checkpoints hold them as they are (see `unpacked`).

    There is no random key here: randomness follows from `seed` and `step`. The seed is part of the state, rather than
    of the program, so that runs of different seeds share one compilation. There is no text tower, since no step needs
    it.
    """

    seed: Count
    step: Count
    total_steps: Count
    first_steps: Count
    params: Packed
    batch_stats: Packed
    opt_state: optax.OptState
    ema: dict[str, Packed] | None = None


def create_state(
    variables: Variables, config: TrainConfig, rules: Rules = TOWER_RULES, total_steps: int = 0
) -> TrainState:
    """The state before the first step, in NumPy's arrays: nothing is compiled for it. `rules` are those of
    `optimizer`."""
    if not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(variables)):
        variables = jax.device_get(variables)
    params = pack(variables["params"], parameter_groups(variables["params"], rules, config.backbone))
    statistics = pack(variables["batch_stats"], jax.tree.map(lambda _: "statistics", variables["batch_stats"]))
    # AdamW's moments and counts all start at zero.
    shapes = jax.eval_shape(make_optimizer(config, rules).init, params)
    return TrainState(
        np.array(config.seed, np.int32),
        np.zeros((), np.int32),
        np.array(total_steps, np.int32),
        np.zeros((), np.int32),
        params,
        statistics,
        jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes),
        {"params": params, "batch_stats": statistics} if config.ema else None,
    )


def unpacked(state: TrainState) -> Any:
    """`state` with its packed trees as trees, in copies on the host (or of shapes, under `jax.eval_shape`)."""
    if not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(state)):
        state = jax.tree.map(np.array, jax.device_get(state))
    return jax.tree.map(lambda node: node.unpack() if is_packed(node) else node, state, is_leaf=is_packed)


def repacked(like: TrainState, state: Any) -> TrainState:
    """The inverse of `unpacked`: `state` packed like the shapes `like`, on all devices."""

    def packed(node: Any, tree: Any) -> Any:
        return node.layout.pack(tree) if is_packed(node) else tree

    return replicate(jax.tree.map(packed, like, jax.device_get(state), is_leaf=is_packed))


def trainable_params(params: dict[str, Any], labels: dict[str, Any]) -> dict[str, Any]:
    """The part of `params` that gets gradients: all but the modules whose labels (see `optimizer`) are all "frozen"."""
    return {name: value for name, value in params.items() if set(jax.tree.leaves(labels[name])) != {"frozen"}}


def evaluation_variables(state: TrainState) -> Variables:
    """The variables to evaluate and to deploy, on all devices: the moving average if there is one."""
    source = state.ema or {"params": state.params, "batch_stats": state.batch_stats}
    return dict(replicate({name: packed.unpack() for name, packed in jax.device_get(source).items()}))
