"""What a detector with a random image tower learns first: to recognise single objects, before it looks for them."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from remoteclip_jax.clip.model import Variables
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.runtime.devices import mean_count


def recognition_loss(
    model: Detector,
    variables: Variables,
    images: Float[Array, "n s s 3"],
    texts: Float[Array, "k e"],
    labels: Int[Array, " n"],
    shown: Bool[Array, "n k"],
    ignored: Bool[Array, "n k"],
    axis_name: str | None,
) -> tuple[Array, tuple[dict[str, Array], dict[str, Any]]]:
    """The loss of a batch of close-ups, its parts, and the new batch statistics.

    `align_context_loss`: cross-entropy over the prompts of the global context I_g with the object that an image is
    around (CLIP's own, Radford et al. 2021); label −1 is none, and costs nothing. `align_loss`: binary cross-entropy of
    the positions' presence with all that is `shown`, summed over the prompts but those `ignored`: what detection asks
    of them later on; a softmax would leave the logits of background to themselves.
    """
    (likeness, presence), new = model.apply(variables, images, texts, True, method="recognise", mutable=["batch_stats"])
    something = labels >= 0
    every = optax.softmax_cross_entropy_with_integer_labels(likeness, jnp.maximum(labels, 0))
    context = jnp.where(something, every, 0).sum() / mean_count(something.sum(), axis_name)
    positions = jnp.where(ignored, 0, optax.sigmoid_binary_cross_entropy(presence, shown)).sum(-1).mean()
    parts: dict[str, jax.Array] = {"align_context_loss": context, "align_loss": positions}
    return context + positions, (parts, new["batch_stats"])
