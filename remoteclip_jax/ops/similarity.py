"""Cosine similarities of embeddings, and the cross-entropy over them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def l2_normalise(x: Float[Array, "... d"]) -> Float[Array, "... d"]:
    """`x` at unit length, in float32 at least, so that dot products are cosine similarities."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def class_logits(
    embeddings: Float[Array, "n d"], class_embeddings: Float[Array, "k d"], temperature: float
) -> Float[Array, "n k"]:
    """Cosine similarities of images and classes, divided by the temperature.

    `class_embeddings` must have unit length; they get no gradient.
    """
    return l2_normalise(embeddings) @ jax.lax.stop_gradient(class_embeddings).T / temperature


def soft_cross_entropy(logits: Float[Array, "n k"], target: Float[Array, "n k"]) -> Float[Array, " n"]:
    """Cross-entropy with a distribution over classes, less that distribution's entropy: zero where both agree exactly.

    With one class for each image (label modes `first` and `largest`) the entropy is zero, and this is the usual
    cross-entropy. A row of zeros costs nothing.
    """
    entropy = -jnp.sum(jnp.where(target > 0, target * jnp.log(jnp.where(target > 0, target, 1.0)), 0.0), -1)
    return -jnp.sum(target * jax.nn.log_softmax(logits), -1) - entropy
