"""Non-maximum suppression with static shapes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from remoteclip_jax.ops.boxes import iou, pairwise


def keep_best(
    boxes: Float[Array, "n c 4"], scores: Float[Array, "n c"], threshold: float, labels: Int[Array, "n c"] | None = None
) -> Bool[Array, "n c"]:
    """Which boxes (corners, sorted by falling `scores`) greedy suppression keeps: each that overlaps no better kept one
    by more than `threshold`; with `labels`, among boxes of its own class alone.

    The greedy result is the fixed point of one parallel sweep (Zheng et al. 2021, Cluster-NMS), reached after as many
    sweeps as the longest chain of suppressions has links.
    """
    count = boxes.shape[1]
    better = jnp.tril(jnp.ones((count, count), bool), -1)  # [i, j]: j stands before i
    clash = (pairwise(iou, boxes, boxes) > threshold) & better
    if labels is not None:
        clash &= labels[:, :, None] == labels[:, None, :]

    def sweep(state: tuple[Array, Array]) -> tuple[Array, Array]:
        keep, _ = state
        new = ~(clash & keep[:, None, :]).any(-1)
        return new, (new != keep).any()

    start = jnp.ones(scores.shape, bool)
    return jax.lax.while_loop(lambda state: state[1], sweep, (start, jnp.array(True)))[0]
