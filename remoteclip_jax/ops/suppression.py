"""Non-maximum suppression with static shapes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from remoteclip_jax.ops.boxes import iou, pairwise


@jax.named_scope("suppression")
def nms_mask(
    boxes: Float[Array, "n c 4"],
    scores: Float[Array, "n c"],
    threshold: float,
    labels: Int[Array, "n c"] | None = None,
    sweeps: int | None = None,
) -> Bool[Array, "n c"]:
    """Which boxes greedy suppression keeps. `boxes` are corners, sorted by falling `scores`.

    A box is kept if its IoU with every kept box of a better score is at most `threshold`. With `labels`, only boxes of
    the same class suppress each other.

    The greedy result is the fixed point of a parallel sweep (Zheng et al. 2021, Cluster-NMS). The number of sweeps is
    the length of the longest chain of suppressions. With a number of `sweeps`, what comes after the first so many boxes
    of a chain may be kept or not.
    """
    count = boxes.shape[1]
    better = jnp.tril(jnp.ones((count, count), bool), -1)  # [i, j]: j comes before i
    clash = (pairwise(iou, boxes, boxes) > threshold) & better
    if labels is not None:
        clash &= labels[:, :, None] == labels[:, None, :]

    def sweep(state: tuple[Bool[Array, "n c"], Bool[Array, ""]]) -> tuple[Bool[Array, "n c"], Bool[Array, ""]]:
        keep, _ = state
        new = ~(clash & keep[:, None, :]).any(-1)
        return new, (new != keep).any()

    start = jnp.ones(scores.shape, bool)
    if sweeps is not None:
        return jax.lax.fori_loop(0, sweeps, lambda _, keep: sweep((keep, jnp.array(True)))[0], start)
    return jax.lax.while_loop(lambda state: state[1], sweep, (start, jnp.array(True)))[0]
