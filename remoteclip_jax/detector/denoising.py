"""Denoising queries (Li et al. 2022, DN-DETR; contrastive as in DINO, Zhang et al. 2023): noised objects as queries
whose answer needs no matching."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from remoteclip_jax.detector.model import Noised
from remoteclip_jax.ops.boxes import Boxes, inside

LABEL_NOISE = 0.5  # share of labels drawn anew
BOX_NOISE = 0.4  # of half the box's side; up to 1 for the others, which are to say "no object"


def make_noised(
    keys: Key[Array, " n"], boxes: Boxes, labels: Int[Array, "n m"], real: Bool[Array, "n m"], count: int, classes: int
) -> tuple[Noised, Int[Array, "n r"]]:
    """`count` noised queries an image and the object [n, count] that each came from (−1: it must say no object).

    `keys` are the images' own, so that an image's noise does not depend on the batch around it. Slot j holds the
    (j mod objects)-th object; each round through the objects is a group, every second one of negatives. Images without
    objects get queries in the middle of nowhere that are to say no object.
    """
    n = len(labels)
    objects = real.sum(-1, keepdims=True)
    slot = jnp.broadcast_to(jnp.arange(count), (n, count))
    group = slot // jnp.maximum(objects, 1)
    # Real objects first, in their order.
    order = jnp.argsort(~real, -1, stable=True)
    source = jnp.take_along_axis(order, slot % jnp.maximum(objects, 1), 1)
    negative = group % 2 == 1

    def draw(key: Array) -> tuple[Array, ...]:
        k1, k2, k3, k4 = jax.random.split(key, 4)
        relabelled = jax.random.uniform(k1, (count,)) < LABEL_NOISE
        other = jax.random.randint(k2, (count,), 0, classes)
        sign = jnp.where(jax.random.bernoulli(k4, 0.5, (count, 4)), 1.0, -1.0)
        return relabelled, other, jax.random.uniform(k3, (count, 4)), sign

    relabelled, other, share, sign = jax.vmap(draw)(keys)
    noisy_labels = jnp.where(relabelled, other, jnp.take_along_axis(labels, source, 1))
    truth = jnp.take_along_axis(boxes, source[..., None], 1)
    share = jnp.where(negative[..., None], BOX_NOISE + (1 - BOX_NOISE) * share, BOX_NOISE * share)
    scale = jnp.concatenate([truth[..., 2:] / 2, truth[..., 2:]], -1)
    noisy = inside(truth + sign * share * scale * jnp.array([1, 1, 0.99, 0.99]))
    empty = objects == 0
    noisy = jnp.where(empty[..., None], 0.5, noisy)
    noisy = jnp.concatenate([noisy[..., :2], jnp.maximum(noisy[..., 2:], 1e-3)], -1)
    return Noised(noisy, noisy_labels, group), jnp.where(negative | empty, -1, source)
