"""One update, as a pure function of the state and a batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from remoteclip_jax.alignment import align_loss, class_logits
from remoteclip_jax.clip.model import CLIP
from remoteclip_jax.clip.preprocess import normalise
from remoteclip_jax.training.optimizer import label_parameters
from remoteclip_jax.training.state import TrainState, trainable

Batch = dict[str, Any]
Metrics = dict[str, Array]


def make_train_step(
    model: CLIP,
    optimizer: optax.GradientTransformation,
    schedule: Callable[[Array, Array], Array],
    class_embeddings: Float[Array, "k d"],
    temperature: float,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The `align` update: state and batch (`image` uint8 [b, s, s, 3], `target` [b, k]) to state and mean metrics.

    With `model.axis_name` set, it runs inside pmap and averages over the devices.
    """

    def loss_fn(training: dict[str, Any], state: TrainState, batch: Batch) -> tuple[Array, Any]:
        params = {**jax.lax.stop_gradient(state.params), **training}
        variables = {"params": params, "batch_stats": state.batch_stats}
        images = normalise(batch["image"])
        embeddings, updates = model.apply(variables, images, train=True, method="encode_image", mutable=["batch_stats"])
        loss = align_loss(class_logits(embeddings, class_embeddings, temperature), batch["target"]).mean()
        return loss, updates["batch_stats"]

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, batch_stats), grads = grad_fn(trainable(state.params), state, batch)
        if model.axis_name:
            loss, grads = jax.lax.pmean((loss, grads), model.axis_name)
        grad_norm = optax.tree.norm(grads)
        grads = {**jax.tree.map(jnp.zeros_like, state.params), **grads}
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        learning_rate = schedule(state.step, state.total_steps)
        # A frozen parameter is passed through rather than having zero added: −0.0 + 0.0 would change a bit.
        params = jax.tree.map(
            lambda label, p, u: p if label == "frozen" else p + (learning_rate * u).astype(p.dtype),
            label_parameters(state.params), state.params, updates,
        )  # fmt: skip
        metrics = {"loss": loss, "learning_rate": learning_rate, "grad_norm": grad_norm}
        return TrainState(state.step + 1, state.total_steps, params, batch_stats, opt_state), metrics

    return train_step
