"""Stage 2a: where to look. Every position of the pyramid proposes a box; the best ones start the decoder."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from remoteclip_jax.clip.layers import Conv, LayerNorm
from remoteclip_jax.detector.encoder import grid
from remoteclip_jax.ops.boxes import Boxes, corners
from remoteclip_jax.ops.suppression import keep_best

ANCHOR = 4.0  # side of a position's anchor in units of its level's stride
CANDIDATES = 3  # times the queries wanted enter the suppression of proposals of one and the same object
SAME_OBJECT = 0.7  # IoU


class Tower(nn.Module):
    """One residual bottleneck, shared by all levels: so an object looks alike at twice the size one level up."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w d"]) -> Float[Array, "n h w d"]:
        d = x.shape[-1]
        y = nn.relu(Conv(d // 2, 1, dtype=self.dtype)(LayerNorm(dtype=self.dtype)(x)))
        y = nn.relu(Conv(d // 2, 3, dtype=self.dtype)(y))
        return LayerNorm(dtype=self.dtype)(x + Conv(d, 1, dtype=self.dtype)(y))


def anchors(shapes: list[tuple[int, int]]) -> Float[Array, "p 4"]:
    """Boxes (cx, cy, w, h) around every position of levels of h×w positions; the levels of one square image."""
    parts = [
        jnp.concatenate([grid(h, w), jnp.broadcast_to(jnp.array([ANCHOR / w, ANCHOR / h]), (h * w, 2))], -1)
        for h, w in shapes
    ]
    return jnp.concatenate(parts)


def select(scores: Float[Array, "n p"], boxes: Boxes, count: int) -> Array:
    """Indices [n, count] of the best proposals, at most one an object where there are enough others.

    Proposals trained one-to-many come in heaps; without suppression (as in DETA, Ouyang-Zhang et al. 2022) a few large
    objects would take all queries.
    """
    candidates = min(CANDIDATES * count, scores.shape[1])
    best, index = jax.lax.top_k(jax.lax.stop_gradient(scores), candidates)
    chosen = corners(jnp.take_along_axis(jax.lax.stop_gradient(boxes), index[..., None], 1))
    keep: Bool[Array, "n c"] = keep_best(chosen, best, SAME_OBJECT)
    # The suppressed follow behind all others, in their order.
    rank = jnp.where(keep, 0, candidates) + jnp.arange(candidates)
    order = jnp.argsort(rank, -1)[:, :count]
    return jnp.take_along_axis(index, order, 1)
