"""One training step, as a pure function of the state and a batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from remoteclip_jax.runtime.devices import mean_over_devices
from remoteclip_jax.training.optimizer import LEARNING_RATE_FACTORS, TOWER_RULES, Backbone, Rules, label_parameters
from remoteclip_jax.training.state import TrainState, trainable_params
from remoteclip_jax.training.workload import Batch, Loss, Parts


def make_train_step(
    loss_fn: Loss,
    optimizer: optax.GradientTransformation,
    schedule: Callable[[Array, Array], Array],
    *,
    rules: Rules = TOWER_RULES,
    backbone: Backbone = "train",
    ema: float = 0.0,
    axis_name: str | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, Parts]]:
    """A function from a state and a batch to the next state and the mean metrics.

    With `axis_name` it runs inside of pmap and averages over the devices. `ema` is the decay of the moving average of
    the weights, 0 for none. The decay rises to this value over the first steps.
    """

    def total_loss(trainable: dict[str, Any], state: TrainState, batch: Batch, key: Array) -> tuple[Array, Any]:
        return loss_fn({**jax.lax.stop_gradient(state.params), **trainable}, state.batch_stats, batch, key)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Parts]:
        key = jax.random.fold_in(jax.random.key(state.seed), state.step)
        labels = label_parameters(state.params, rules, backbone)
        grad_fn = jax.value_and_grad(total_loss, has_aux=True)
        (loss, (parts, batch_stats)), grads = grad_fn(trainable_params(state.params, labels), state, batch, key)
        loss, parts, grads = mean_over_devices((loss, parts, grads), axis_name)
        grad_norm = optax.tree.norm(grads)
        grads = {**jax.tree.map(jnp.zeros_like, state.params), **grads}
        with jax.named_scope("optimizer"):
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        # The schedule begins again with the second phase.
        in_first_phase = state.step < state.first_steps
        learning_rate = schedule(
            jnp.where(in_first_phase, state.step, state.step - state.first_steps),
            jnp.where(in_first_phase, state.first_steps, state.total_steps - state.first_steps),
        )

        def updated(label: str, param: Array, update: Array) -> Array:
            if label == "frozen":  # nothing is added, because −0.0 + 0.0 would change a bit
                return param
            return param + (learning_rate * LEARNING_RATE_FACTORS[label] * update).astype(param.dtype)

        with jax.named_scope("optimizer"):
            params = jax.tree.map(updated, labels, state.params, updates)
        average = state.ema
        if average is not None:
            decay = jnp.minimum(ema, (1 + state.step) / (10 + state.step))
            new = {"params": params, "batch_stats": batch_stats}
            average = jax.tree.map(lambda a, b: a * decay + b * (1 - decay), average, new)
        metrics = {"loss": loss, **parts, "learning_rate": learning_rate, "grad_norm": grad_norm}
        new_state = state._replace(
            step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state, ema=average
        )
        return new_state, metrics

    return train_step
