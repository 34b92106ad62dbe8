"""The mathematics of the task `align`: images against frozen class embeddings, in training and in evaluation."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from remoteclip_jax.clip.model import unit


def class_logits(
    embeddings: Float[Array, "n d"], class_embeddings: Float[Array, "k d"], temperature: float
) -> Float[Array, "n k"]:
    """Cosine similarities of images and classes over the temperature. The class embeddings are unit and frozen."""
    return unit(embeddings) @ jax.lax.stop_gradient(class_embeddings).T / temperature


def align_loss(logits: Float[Array, "n k"], target: Float[Array, "n k"]) -> Float[Array, "n"]:
    """Cross-entropy against a distribution over classes, minus that distribution's entropy: zero when met exactly.

    For one class an image (`first`, `largest`) the entropy is zero and this is the plain cross-entropy of the original.
    """
    entropy = -jnp.sum(jnp.where(target > 0, target * jnp.log(jnp.where(target > 0, target, 1.0)), 0.0), -1)
    return -jnp.sum(target * jax.nn.log_softmax(logits), -1) - entropy


def classification_sums(
    logits: Float[Array, "n k"], target: Float[Array, "n k"], classes: Bool[Array, "n k"], valid: Bool[Array, "n"]
) -> dict[str, Array]:
    """Sums over a batch: `loss`, the hits `top1` and `top5`, and the `count` of rows; padded rows count for nothing.

    A hit is a class that the image's label names; an image may have several (`classes`).
    """
    best = jax.lax.top_k(logits, min(5, logits.shape[-1]))[1]
    hits = jnp.take_along_axis(classes, best, -1) & valid[:, None]
    return {
        "loss": jnp.sum(jnp.where(valid, align_loss(logits, target), 0.0)),
        "top1": hits[:, 0].sum(),
        "top5": hits.any(-1).sum(),
        "count": valid.sum(),
    }
