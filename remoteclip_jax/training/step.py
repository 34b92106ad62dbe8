"""One training step, as a pure function of the state and a batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runtime.devices import mean_over_devices
from remoteclip_jax.training.optimizer import (
    LEARNING_RATE_FACTORS,
    MAX_LOGIT_SCALE,
    TEMPERATURE,
    TOWER_RULES,
    Rules,
    label_of_group,
    label_parameters,
    make_optimizer,
    make_schedule,
)
from remoteclip_jax.training.state import TrainState, trainable_params
from remoteclip_jax.training.workload import Batch, Loss, Parts


def make_train_step(
    loss_fn: Loss, config: TrainConfig, rules: Rules = TOWER_RULES, axis_name: str | None = None
) -> Callable[[TrainState, Batch], tuple[TrainState, Parts]]:
    """A function from a state and a batch to the next state and the mean metrics.

    With `axis_name` it runs inside of pmap and averages over the devices. `config.ema` is the decay of the moving
    average of the weights, 0 for none. The decay rises to this value over the first steps.
    """
    optimizer, schedule = make_optimizer(config, rules), make_schedule(config)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Parts]:
        key = jax.random.fold_in(jax.random.key(state.seed), state.step)
        params, statistics = state.params.unpack(), state.batch_stats.unpack()
        labels = label_parameters(params, rules, config.backbone)

        def held(label: str, param: Array) -> Array:
            return jax.lax.stop_gradient(param) if label == "frozen" else param

        def total_loss(trainable: dict[str, Any]) -> tuple[Array, Any]:
            # What is frozen inside of a module that trains gets no gradient either, which would count in the norm.
            return loss_fn(jax.tree.map(held, labels, {**params, **trainable}), statistics, batch, key)

        trainable = trainable_params(params, labels)
        (loss, (parts, statistics)), grads = jax.value_and_grad(total_loss, has_aux=True)(trainable)
        with jax.named_scope("optimizer"):
            packed = state.params.layout.pack({**jax.tree.map(jnp.zeros_like, params), **grads})
            new_statistics = state.batch_stats.layout.pack(statistics)
        loss, parts, packed = mean_over_devices((loss, parts, packed), axis_name)
        # The schedule begins again with the second phase.
        in_first_phase = state.step < state.first_steps
        learning_rate = schedule(
            jnp.where(in_first_phase, state.step, state.step - state.first_steps),
            jnp.where(in_first_phase, state.first_steps, state.total_steps - state.first_steps),
        )

        def updated(group: str, param: Array, update: Array) -> Array:
            factor = LEARNING_RATE_FACTORS[label_of_group(group)]
            if not factor:  # nothing is added, because −0.0 + 0.0 would change a bit
                return param
            new = param + (learning_rate * factor * update).astype(param.dtype)
            return jnp.clip(new, 0, MAX_LOGIT_SCALE) if group.endswith(TEMPERATURE) else new

        with jax.named_scope("optimizer"):
            grad_norm = optax.tree.norm(packed)
            updates, opt_state = optimizer.update(packed, state.opt_state, state.params)
            new_params = jax.tree.map(updated, state.params.groups(), state.params, updates)
        average = state.ema
        if average is not None:
            with jax.named_scope("moving_average"):
                decay = jnp.minimum(config.ema, (1 + state.step) / (10 + state.step))
                new = {"params": new_params, "batch_stats": new_statistics}
                # Exact where both are equal: what is frozen keeps its bits.
                average = jax.tree.map(lambda a, b: a + (b - a) * (1 - decay), average, new)
        metrics = {"loss": loss, **parts, "learning_rate": learning_rate, "grad_norm": grad_norm}
        new_state = state._replace(
            step=state.step + 1, params=new_params, batch_stats=new_statistics, opt_state=opt_state, ema=average
        )
        return new_state, metrics

    return train_step
