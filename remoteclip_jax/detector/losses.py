"""Stage 4: the terms of the loss, for classes, boxes, contrast and presence. `supervision` weights and sums them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from remoteclip_jax.ops.boxes import Boxes, corners, giou, iou
from remoteclip_jax.ops.similarity import l2_normalise, soft_cross_entropy

ALPHA, GAMMA = 0.25, 2.0  # focal loss (Lin et al. 2017)
VARIFOCAL_ALPHA = 0.75
MIN_QUALITY = 0.1
MASKED = -1e4  # a logit that has no influence on a softmax


def focal_parts(logits: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The focal loss for a target of 1, and for a target of 0."""
    p = jax.nn.sigmoid(logits)
    positive = ALPHA * (1 - p) ** GAMMA * jax.nn.softplus(-logits)
    return positive, (1 - ALPHA) * p**GAMMA * jax.nn.softplus(logits)


def varifocal_loss(logits: Float[Array, "... k"], target: Float[Array, "... k"]) -> Float[Array, "... k"]:
    """Varifocal loss (Zhang et al. 2021).

    For a positive, whose target is a quality in (0, 1], it is the binary cross-entropy weighted by that quality. For a
    negative, whose target is 0, it is weighted as in focal loss.
    """
    p = jax.nn.sigmoid(logits)
    entropy = target * jax.nn.softplus(-logits) + (1 - target) * jax.nn.softplus(logits)
    return jnp.where(target > 0, target, VARIFOCAL_ALPHA * p**GAMMA) * entropy


def classification_loss(
    kind: str,
    logits: Float[Array, "*n q k"],
    labels: Int[Array, "*n q"],
    quality: Float[Array, "*n q"],
    ignored: Bool[Array, "*n q k"] | None = None,
) -> Float[Array, "*n q"]:
    """The class loss of each query, summed over prompts. Label −1 means no object.

    The target of a query's class is `quality`, the IoU of its box, for the kinds "quality" (binary cross-entropy: the
    quality focal loss of Li et al. 2020 without its weight) and "varifocal"; it is 1 for "bce". Logits of −inf, which
    belong to padded prompts, cost nothing. `ignored` logits cost nothing unless they are of the query's own class.
    """
    classes = jax.nn.one_hot(labels, logits.shape[-1])
    finite = jnp.where(jnp.isfinite(logits), logits, -30.0)
    if kind != "bce":  # a lower bound, because at first even the boxes of matched queries fit badly
        minimum = MIN_QUALITY if kind == "quality" else 0.01
        classes *= jax.lax.stop_gradient(jnp.clip(quality, minimum, 1))[..., None]
    loss = varifocal_loss(finite, classes) if kind == "varifocal" else jax.nn.softplus(finite) - classes * finite
    return (loss if ignored is None else jnp.where(ignored & (classes == 0), 0, loss)).sum(-1)


def box_terms(boxes: Boxes, truth: Boxes) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """L1 distance, GIoU loss and IoU of boxes and the boxes of their objects, all (cx, cy, w, h)."""
    a, b = corners(boxes), corners(truth)
    return jnp.abs(boxes - truth).sum(-1), 1 - giou(a, b), iou(a, b)


def presence_loss(
    similarity: Float[Array, "n k"], present: Bool[Array, "n k"], ignored: Bool[Array, "n k"] | None = None
) -> Float[Array, " n"]:
    """Cross-entropy between each image's global context and the uniform distribution over the classes `present` in it.

    `similarity` are the logits of the context for the prompts. The loss is zero for an image without objects, and where
    both distributions agree exactly; the task `align` has the same loss for several labels. Prompts that are `ignored`
    and not present are left out.
    """
    if ignored is not None:
        similarity = jnp.where(ignored & ~present, MASKED, similarity)
    return soft_cross_entropy(similarity, present / jnp.maximum(present.sum(-1, keepdims=True), 1))


def without_truth(
    context: Float[Array, "n e"], texts: Float[Array, "k e"], present: Bool[Array, "n k"]
) -> Float[Array, "n e"]:
    """The global context without its component in the span of the texts of the classes `present`, at unit length.

    The I_g of an image of an airport is similar to "airport". As a negative it would push the airport's queries away
    from their own class.
    """
    span = texts[None] * present[..., None]
    # Full float32: by default a GPU's products have ten bits (TF32), an error that the ridge of 1e-4 does not cover.
    with jax.default_matmul_precision("highest"):
        gram = span @ span.swapaxes(-1, -2) + 1e-4 * jnp.eye(len(texts))
        weights = jnp.linalg.solve(gram, span @ context[..., None])
        return l2_normalise(context - (span.swapaxes(-1, -2) @ weights)[..., 0] + 1e-8)


def contrast_losses(
    cosines: Float[Array, "*n q k1"], labels: Int[Array, "*n q"], temperature: Float[Array, ""] | float
) -> tuple[Float[Array, "*n q"], Float[Array, "*n q"]]:
    """The global contrast loss of matched queries, and the background loss of unmatched queries (label −1).

    The columns of `cosines` are [t_1 … t_K, I_g]; the last one is the image's own global context, its automatic
    negative. The contrast loss is the cross-entropy of a matched query's class over all columns. The background loss of
    an unmatched query is 1 − cos(f, I_g).
    """
    logits = cosines / temperature
    likelihood = jax.nn.log_softmax(logits)
    matched = -jnp.take_along_axis(likelihood, jnp.maximum(labels, 0)[..., None], -1)[..., 0]
    return jnp.where(labels >= 0, matched, 0), jnp.where(labels < 0, 1 - cosines[..., -1], 0)
