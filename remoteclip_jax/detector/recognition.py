"""Recognition of object crops: what a detector with a random image tower learns before it learns to detect."""

from typing import Any

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
) -> tuple[Float[Array, ""], tuple[dict[str, Array], dict[str, Any]]]:
    """The loss of a batch of object crops, its parts, and the new batch statistics.

    `align_context_loss` is the cross-entropy of the global context I_g, over the prompts, with the `labels` of the
    crops' objects (CLIP's own loss, Radford et al. 2021). A crop without an object has label −1 and costs nothing.
    `align_loss` is the binary cross-entropy of the positions' logits with all classes `shown`, summed over the prompts
    that are not `ignored`. Detection later asks the same of the positions. A softmax would not train the logits of
    background.
    """
    (similarity, presence), new = model.apply(
        variables, images, texts, True, method="recognise", mutable=["batch_stats"]
    )
    labelled = labels >= 0
    losses = optax.softmax_cross_entropy_with_integer_labels(similarity, jnp.maximum(labels, 0))
    context = jnp.where(labelled, losses, 0).sum() / mean_count(labelled.sum(), axis_name)
    positions = jnp.where(ignored, 0, optax.sigmoid_binary_cross_entropy(presence, shown)).sum(-1).mean()
    parts: dict[str, Array] = {"align_context_loss": context, "align_loss": positions}
    return context + positions, (parts, new["batch_stats"])
