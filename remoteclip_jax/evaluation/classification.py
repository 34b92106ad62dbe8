"""Loss and accuracy of a classification, as sums that can be added over batches and devices."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from remoteclip_jax.ops.similarity import soft_cross_entropy


def classification_sums(
    logits: Float[Array, "n k"], target: Float[Array, "n k"], classes: Bool[Array, "n k"], valid: Bool[Array, " n"]
) -> dict[str, Array]:
    """Sums over the valid rows of a batch: `loss`, the hits `top1` and `top5`, and the `count` of rows.

    `target` is a distribution over classes, for the loss. `classes` are all classes in an image, of which there may be
    several: each of them is a hit. `valid` is False for padding.
    """
    best = jax.lax.top_k(logits, min(5, logits.shape[-1]))[1]
    hits = jnp.take_along_axis(classes, best, -1) & valid[:, None]
    return {
        "loss": jnp.sum(jnp.where(valid, soft_cross_entropy(logits, target), 0.0)),
        "top1": hits[:, 0].sum(),
        "top5": hits.any(-1).sum(),
        "count": valid.sum(),
    }
