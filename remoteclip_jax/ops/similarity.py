"""Cosine similarity of embeddings, and the cross-entropy over it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def unit(x: Float[Array, "... d"]) -> Float[Array, "... d"]:
    """`x` divided by its length, in at least float32: cosine similarities are then products."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def class_logits(
    embeddings: Float[Array, "n d"], class_embeddings: Float[Array, "k d"], temperature: float
) -> Float[Array, "n k"]:
    """Cosine similarities of images and classes over the temperature. The class embeddings are unit and frozen."""
    return unit(embeddings) @ jax.lax.stop_gradient(class_embeddings).T / temperature


def soft_cross_entropy(logits: Float[Array, "n k"], target: Float[Array, "n k"]) -> Float[Array, "n"]:
    """Cross-entropy against a distribution over classes, minus that distribution's entropy: zero when met exactly.

    For one class an image (`first`, `largest`) the entropy is zero and this is the plain cross-entropy of the original.
    """
    entropy = -jnp.sum(jnp.where(target > 0, target * jnp.log(jnp.where(target > 0, target, 1.0)), 0.0), -1)
    return -jnp.sum(target * jax.nn.log_softmax(logits), -1) - entropy
