"""One-to-many assignment of the pyramid's positions to objects: dense supervision, which learns from few images."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from remoteclip_jax.detector.matching_cost import class_cost
from remoteclip_jax.ops.boxes import corners, iou, pairwise

MAX_POSITIONS = 9  # that one object can get
RADIUS = 1.5  # strides that a position may be away from the object's centre
FAR = 1e5  # the cost of a position outside of that radius


def assign(
    logits: Float[Array, "n p k"],
    boxes: Float[Array, "n p 4"],
    anchors: Float[Array, "p 4"],
    strides: Float[Array, " p"],
    truth: Float[Array, "n m 4"],
    labels: Int[Array, "n m"],
    real: Bool[Array, "n m"],
) -> tuple[Int[Array, "n p"], Float[Array, "n p"]]:
    """For each position the index of its object, or −1, and the IoU of its box with that object.

    SimOTA (Ge et al. 2021, YOLOX). Each object gets the positions near its centre that are cheapest by class cost and
    IoU. Their number is the sum of the best `MAX_POSITIONS` IoUs, at least one. A position that several objects want
    goes to the object for which it is cheapest. `strides` are those of the positions, in units of the image's side.
    """
    p = logits.shape[1]
    overlap = pairwise(iou, corners(truth), corners(boxes))  # [n, m, p]
    offset = jnp.abs(anchors[None, None, :, :2] - truth[:, :, None, :2])
    near = (offset < RADIUS * strides[:, None]).all(-1)
    cost = class_cost(logits, labels).swapaxes(1, 2) - 3 * jnp.log(overlap + 1e-6)
    cost = jnp.where(near, cost, FAR)
    # An object that no position is near to, for instance at the image's border, gets the nearest one.
    nearest = jnp.argmin((offset / strides[:, None]).max(-1), -1)
    cost = jnp.where((jnp.arange(p) == nearest[..., None]) & ~near.any(-1, keepdims=True), 0.0, cost)
    best_overlap = jax.lax.top_k(jnp.where(near, overlap, 0), MAX_POSITIONS)[0]
    count = jnp.clip(best_overlap.sum(-1).astype(jnp.int32), 1, MAX_POSITIONS)
    best_cost = -jax.lax.top_k(-cost, MAX_POSITIONS)[0]
    limit = jnp.take_along_axis(best_cost, count[..., None] - 1, -1)
    chosen = (cost <= limit) & (cost < FAR) & real[..., None]
    cost = jnp.where(chosen, cost, jnp.inf)
    index = jnp.argmin(cost, 1)
    assigned = chosen.any(1)
    quality = jnp.take_along_axis(overlap, index[:, None], 1)[:, 0]
    return jnp.where(assigned, index, -1), jnp.where(assigned, quality, 0.0)
