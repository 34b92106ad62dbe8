"""One update, as a pure function of the state and a batch."""

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
    """The update of a task: state and batch to state and mean metrics.

    With `axis_name` set, it runs inside pmap and averages over the devices. `ema` is the decay of the moving average
    of the weights, which rises to it from the start; 0 for none.
    """

    def total_loss(training: dict[str, Any], state: TrainState, batch: Batch, key: Array) -> tuple[Array, Any]:
        return loss_fn({**jax.lax.stop_gradient(state.params), **training}, state.batch_stats, batch, key)

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
        # Each phase has a course of the learning rate of its own.
        in_first = state.step < state.first_steps
        learning_rate = schedule(
            jnp.where(in_first, state.step, state.step - state.first_steps),
            jnp.where(in_first, state.first_steps, state.total_steps - state.first_steps),
        )
        # A frozen parameter is passed through rather than having zero added: −0.0 + 0.0 would change a bit.
        with jax.named_scope("optimizer"):
            params = jax.tree.map(
                lambda label, p, u: p if label == "frozen" else p + (learning_rate * LEARNING_RATE_FACTORS[label] * u).astype(p.dtype),
                labels,
                state.params,
                updates,
            )
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
