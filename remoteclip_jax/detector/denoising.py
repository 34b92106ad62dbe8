"""Denoising queries: noised objects as queries whose targets need no matching (Li et al. 2022, DN-DETR).

They are contrastive, with positive and negative ones, as in DINO (Zhang et al. 2023).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from remoteclip_jax.detector.model import DenoisingQueries
from remoteclip_jax.ops.boxes import clip_to_image

LABEL_NOISE = 0.5  # the share of labels that are replaced at random
BOX_NOISE = 0.4  # of half the box's side, for positives; from there up to 1 for negatives, whose target is "no object"


def make_denoising_queries(
    keys: Key[Array, " n"],
    boxes: Float[Array, "n m 4"],
    labels: Int[Array, "n m"],
    real: Bool[Array, "n m"],
    count: int,
    classes: int,
) -> tuple[DenoisingQueries, Int[Array, "n r"]]:
    """`count` denoising queries for each image, and the index of the object each must find (−1: no object).

    Every image has its own key in `keys`, so that its noise does not depend on the rest of the batch. Query j is made
    from object (j mod objects). Each pass over the objects is a group, and every second group is of negatives. In an
    image without objects all queries lie in the middle, and their target is "no object".
    """
    n = len(labels)
    objects = real.sum(-1, keepdims=True)
    slot = jnp.broadcast_to(jnp.arange(count), (n, count))
    group = slot // jnp.maximum(objects, 1)
    # Real objects first, in their order.
    order = jnp.argsort(~real, -1, stable=True)
    source = jnp.take_along_axis(order, slot % jnp.maximum(objects, 1), 1)
    negative = group % 2 == 1

    # One draw, with which nothing is fused: a generator's code is long, and would be compiled once for each use.
    draw = jax.vmap(partial(jax.random.uniform, shape=(count, 10)))(keys)
    draw = jax.lax.optimization_barrier(draw)
    relabelled = draw[..., 0] < LABEL_NOISE
    random_label = jnp.minimum((draw[..., 1] * classes).astype(jnp.int32), classes - 1)
    share, sign = draw[..., 2:6], jnp.where(draw[..., 6:] < 0.5, 1.0, -1.0)
    noisy_labels = jnp.where(relabelled, random_label, jnp.take_along_axis(labels, source, 1))
    truth = jnp.take_along_axis(boxes, source[..., None], 1)
    share = jnp.where(negative[..., None], BOX_NOISE + (1 - BOX_NOISE) * share, BOX_NOISE * share)
    scale = jnp.concatenate([truth[..., 2:] / 2, truth[..., 2:]], -1)
    noisy = clip_to_image(truth + sign * share * scale * jnp.array([1, 1, 0.99, 0.99]))
    empty = objects == 0
    noisy = jnp.where(empty[..., None], 0.5, noisy)
    noisy = jnp.concatenate([noisy[..., :2], jnp.maximum(noisy[..., 2:], 1e-3)], -1)
    return DenoisingQueries(noisy, noisy_labels, group), jnp.where(negative | empty, -1, source)
