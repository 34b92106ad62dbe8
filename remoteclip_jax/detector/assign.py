"""One-to-many assignment of the pyramid's positions to objects: dense supervision, which learns from few images."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from remoteclip_jax.detector.matching_cost import class_cost_of
from remoteclip_jax.detector.proposals import anchors
from remoteclip_jax.ops.boxes import corners, iou

MAX_POSITIONS = 9  # that one object can get
RADIUS = 1.5  # strides that a position may be away from the object's centre
FAR = 1e5  # the cost of a position outside of that radius


def assign(
    logits: Float[Array, "n p k"],
    boxes: Float[Array, "n p 4"],
    shapes: Sequence[tuple[int, int]],
    truth: Float[Array, "n m 4"],
    labels: Int[Array, "n m"],
    real: Bool[Array, "n m"],
) -> tuple[Int[Array, "n p"], Float[Array, "n p"]]:
    """For each position the index of its object, or −1, and the IoU of its box with that object.

    SimOTA (Ge et al. 2021, YOLOX). Each object gets the positions near its centre that are cheapest by class cost and
    IoU. Their number is the sum of the best `MAX_POSITIONS` IoUs, at least one. A position that several objects want
    goes to the object for which it is cheapest. `shapes` are the levels' (h, w). Only the nine positions around an
    object's centre are looked at on each level: no other is within the radius.
    """
    n, p, _ = logits.shape
    m = truth.shape[1]
    index, offset = _positions_around(truth[..., :2], shapes)
    flat = index.reshape(n, -1)
    near = offset < RADIUS
    candidates = jnp.take_along_axis(boxes, flat[..., None], 1).reshape(*index.shape, 4)
    overlap = iou(corners(truth)[:, :, None], corners(candidates))
    logit = logits[jnp.arange(n)[:, None, None], index, labels[..., None]]
    cost = jnp.where(near, class_cost_of(logit) - 3 * jnp.log(overlap + 1e-6), FAR)
    # An object that no position is near to, because its centre is outside of the image, gets the nearest one.
    nearest = jnp.arange(index.shape[-1]) == offset.argmin(-1, keepdims=True)
    cost = jnp.where(nearest & ~near.any(-1, keepdims=True), 0.0, cost)
    best_overlap = jax.lax.top_k(jnp.where(near, overlap, 0), MAX_POSITIONS)[0]
    count = jnp.clip(best_overlap.sum(-1).astype(jnp.int32), 1, MAX_POSITIONS)
    best_cost = -jax.lax.top_k(-cost, MAX_POSITIONS)[0]
    limit = jnp.take_along_axis(best_cost, count[..., None] - 1, -1)
    chosen = (cost <= limit) & (cost < FAR) & real[..., None]

    # The cheapest object of each position, the first one of equals.
    image = jnp.arange(n)[:, None]
    price = jnp.where(chosen, cost, jnp.inf).reshape(n, -1)
    lowest = jnp.full((n, p), jnp.inf).at[image, flat].min(price, mode="promise_in_bounds")
    is_cheapest = chosen.reshape(n, -1) & (price == lowest[image, flat])
    objects = jnp.broadcast_to(jnp.arange(m)[:, None], index.shape[1:]).reshape(-1)
    winner = jnp.full((n, p), m).at[image, flat].min(jnp.where(is_cheapest, objects, m), mode="promise_in_bounds")
    assigned = winner < m
    target = jnp.take_along_axis(truth, jnp.where(assigned, winner, 0)[..., None], 1)
    return jnp.where(assigned, winner, -1), jnp.where(assigned, iou(corners(boxes), corners(target)), 0.0)


def _positions_around(
    centres: Float[Array, "n m 2"], shapes: Sequence[tuple[int, int]]
) -> tuple[Int[Array, "n m c"], Float[Array, "n m c"]]:
    """The positions of all levels in the 3×3 cells around each centre, and how far they are from it, in strides of
    their level (the larger of the two axes; infinite outside of the map)."""
    dy, dx = np.array(list(itertools.product((-1, 0, 1), repeat=2))).T
    starts = np.cumsum([0, *(h * w for h, w in shapes)])
    places = anchors(list(shapes))[:, :2]
    indices, offsets = [], []
    for start, (h, w) in zip(starts, shapes, strict=False):
        x, y = (
            jnp.clip(jnp.floor(centres[..., axis, None] * size).astype(jnp.int32), 0, size - 1) + step
            for axis, size, step in ((0, w, dx), (1, h, dy))
        )
        inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
        index = start + jnp.clip(y, 0, h - 1) * w + jnp.clip(x, 0, w - 1)
        offset = (jnp.abs(places[index] - centres[:, :, None]) * jnp.array([w, h])).max(-1)
        indices.append(index)
        offsets.append(jnp.where(inside, offset, jnp.inf))
    return jnp.concatenate(indices, -1), jnp.concatenate(offsets, -1)
