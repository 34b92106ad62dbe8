"""Stage 4, the terms: classification, boxes, global contrast. Sums and weights stand in `supervision`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from remoteclip_jax.ops.boxes import Boxes, corners, giou, iou
from remoteclip_jax.ops.similarity import soft_cross_entropy, unit

ALPHA, GAMMA = 0.25, 2.0  # focal loss (Lin et al. 2017)
VARIFOCAL_ALPHA = 0.75
LEAST_QUALITY = 0.1
ABSENT = -1e4  # a logit that takes no part in a softmax


def focal_parts(logits: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """What the focal loss is where the target is 1, and where it is 0."""
    p = jax.nn.sigmoid(logits)
    positive = ALPHA * (1 - p) ** GAMMA * jax.nn.softplus(-logits)
    return positive, (1 - ALPHA) * p**GAMMA * jax.nn.softplus(logits)


def varifocal(logits: Float[Array, "... k"], target: Float[Array, "... k"]) -> Float[Array, "... k"]:
    """Varifocal loss (Zhang et al. 2021): binary cross-entropy against a quality in (0, 1] weighted by it, and a
    focal one where the target is 0."""
    p = jax.nn.sigmoid(logits)
    entropy = target * jax.nn.softplus(-logits) + (1 - target) * jax.nn.softplus(logits)
    return jnp.where(target > 0, target, VARIFOCAL_ALPHA * p**GAMMA) * entropy


def classification(
    kind: str,
    logits: Float[Array, "n q k"],
    labels: Int[Array, "n q"],
    quality: Float[Array, "n q"],
    ignored: Bool[Array, "n q k"] | None = None,
) -> Float[Array, "n q"]:
    """Class loss of queries: label −1 is no object. `quality` is the IoU of the query's box: the target of
    binary cross-entropy ("quality", the quality focal loss of Li et al. 2020 without its weight) and of varifocal
    loss; that of "bce" is 1. Logits of −inf, which belong to no prompt, cost nothing; nor do those `ignored`, unless
    they are of the query's own class."""
    classes = jax.nn.one_hot(labels, logits.shape[-1])
    finite = jnp.where(jnp.isfinite(logits), logits, -30.0)
    if kind != "bce":  # a box that fits badly at first still belongs to its object
        least = LEAST_QUALITY if kind == "quality" else 0.01
        classes *= jax.lax.stop_gradient(jnp.clip(quality, least, 1))[..., None]
    loss = varifocal(finite, classes) if kind == "varifocal" else jax.nn.softplus(finite) - classes * finite
    return (loss if ignored is None else jnp.where(ignored & (classes == 0), 0, loss)).sum(-1)


def box_terms(boxes: Boxes, truth: Boxes) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """L1 distance, GIoU loss and IoU of boxes with their objects'."""
    a, b = corners(boxes), corners(truth)
    return jnp.abs(boxes - truth).sum(-1), 1 - giou(a, b), iou(a, b)


def presence(
    likeness: Float[Array, "n k"], present: Bool[Array, "n k"], ignored: Bool[Array, "n k"] | None = None
) -> Float[Array, " n"]:
    """Cross-entropy over the prompts of an image's global context with all that is `present` in the image, alike; zero
    where nothing is, and where it is met exactly: the loss of the task `align` with several labels. Prompts that are
    `ignored` and not present are left out."""
    if ignored is not None:
        likeness = jnp.where(ignored & ~present, ABSENT, likeness)
    return soft_cross_entropy(likeness, present / jnp.maximum(present.sum(-1, keepdims=True), 1))


def without_truth(
    context: Float[Array, "n e"], texts: Float[Array, "k e"], present: Bool[Array, "n k"]
) -> Float[Array, "n e"]:
    """The global context less its component in the span of the texts of what is `present` in each image, of unit
    length: I_g of an airport resembles "airport", and would push its queries from their own class."""
    span = texts[None] * present[..., None]
    # A GPU's float32 products are of ten bits unless told otherwise, which is more than the ridge is good for.
    with jax.default_matmul_precision("highest"):
        gram = span @ span.swapaxes(-1, -2) + 1e-4 * jnp.eye(len(texts))
        weights = jnp.linalg.solve(gram, span @ context[..., None])
        return unit(context - (span.swapaxes(-1, -2) @ weights)[..., 0] + 1e-8)


def contrast(
    cosines: Float[Array, "n q k1"], labels: Int[Array, "n q"], temperature: Float[Array, ""] | float
) -> tuple[Float[Array, "n q"], Float[Array, "n q"]]:
    """The global contrast loss: cross-entropy of a matched query's class over [t_1 … t_K, I_g], whose last column is
    the image's own global context, its automatic negative; and 1 − cos(f, I_g) of an unmatched query (label −1)."""
    logits = cosines / temperature
    likelihood = jax.nn.log_softmax(logits)
    matched = -jnp.take_along_axis(likelihood, jnp.maximum(labels, 0)[..., None], -1)[..., 0]
    return jnp.where(labels >= 0, matched, 0), jnp.where(labels < 0, 1 - cosines[..., -1], 0)
