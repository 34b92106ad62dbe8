"""One-to-many assignment of the pyramid's positions: dense supervision, which learns from few images."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from remoteclip_jax.detector.matching_cost import class_cost
from remoteclip_jax.ops.boxes import Boxes, corners, iou, pairwise

TOP = 9  # positions an object may get
REACH = 1.5  # strides from the object's centre that a position may lie away
FAR = 1e5


def assign(
    logits: Float[Array, "n p k"],
    boxes: Boxes,
    anchors: Float[Array, "p 4"],
    strides: Float[Array, "p"],
    truth: Boxes,
    labels: Int[Array, "n m"],
    real: Bool[Array, "n m"],
) -> tuple[Int[Array, "n p"], Float[Array, "n p"]]:
    """For each position its object's index, or −1, and the IoU of its box with that object.

    SimOTA (Ge et al. 2021, YOLOX): among the positions near an object's centre, the cheapest by class cost and IoU; as
    many as the best `TOP` IoUs sum to, at least one. A position wanted by several goes to the cheapest. `strides` are
    those of the positions in units of the image's side.
    """
    p = logits.shape[1]
    overlap = pairwise(iou, corners(truth), corners(boxes))  # [n, m, p]
    offset = jnp.abs(anchors[None, None, :, :2] - truth[:, :, None, :2])
    near = (offset < REACH * strides[:, None]).all(-1)
    cost = class_cost(logits, labels).swapaxes(1, 2) - 3 * jnp.log(overlap + 1e-6)
    cost = jnp.where(near, cost, FAR)
    # An object between the grid's positions, at the image's border say, takes the nearest one there is.
    nearest = jnp.argmin((offset / strides[:, None]).max(-1), -1)
    cost = jnp.where((jnp.arange(p) == nearest[..., None]) & ~near.any(-1, keepdims=True), 0.0, cost)
    best_overlap = jax.lax.top_k(jnp.where(near, overlap, 0), TOP)[0]
    wanted = jnp.clip(best_overlap.sum(-1).astype(jnp.int32), 1, TOP)
    best_cost = -jax.lax.top_k(-cost, TOP)[0]
    limit = jnp.take_along_axis(best_cost, wanted[..., None] - 1, -1)
    chosen = (cost <= limit) & (cost < FAR) & real[..., None]
    cost = jnp.where(chosen, cost, jnp.inf)
    index = jnp.argmin(cost, 1)
    assigned = chosen.any(1)
    quality = jnp.take_along_axis(overlap, index[:, None], 1)[:, 0]
    return jnp.where(assigned, index, -1), jnp.where(assigned, quality, 0.0)
