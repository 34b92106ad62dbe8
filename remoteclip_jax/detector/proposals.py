"""Stage 2a: proposals. Every position of the pyramid proposes a box; the best become the decoder's first queries."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from remoteclip_jax.clip.layers import Conv, LayerNorm
from remoteclip_jax.detector.encoder import Maps, flatten, grid_centres
from remoteclip_jax.ops.boxes import corners
from remoteclip_jax.ops.suppression import nms_mask

ANCHOR = 4.0  # the side of a position's anchor in units of its level's stride
SWEEPS = 8  # of the suppression: a known number, so that a GPU need not ask the host whether to go on
CANDIDATES = 3  # the best proposals, in multiples of the number of queries, enter the suppression
SAME_OBJECT = 0.7  # IoU above which the weaker of two proposals is suppressed


class Tower(nn.Module):
    """One residual bottleneck, shared by all levels: an object of twice the size looks the same one level up.

    From the maps to their positions, the finest level first.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, maps: Maps) -> Float[Array, "n p d"]:
        x = flatten(maps)
        d = x.shape[-1]
        # Only the 3×3 convolution needs to know where the positions are.
        normed = LayerNorm(dtype=self.dtype)(x)[:, :, None]
        y = nn.relu(Conv(d // 2, 1, dtype=self.dtype)(normed))
        around = Conv(d // 2, 3, dtype=self.dtype)
        ends = np.cumsum([h * w for _, h, w, _ in (level.shape for level in maps)])
        levels = [
            part.reshape(*level.shape[:3], d // 2) for part, level in zip(jnp.split(y, ends[:-1], 1), maps, strict=True)
        ]
        y = nn.relu(flatten([around(level) for level in levels]))[:, :, None]
        return LayerNorm(dtype=self.dtype)(x + Conv(d, 1, dtype=self.dtype)(y)[:, :, 0])


def anchors(shapes: list[tuple[int, int]]) -> Float[Array, "p 4"]:
    """Boxes (cx, cy, w, h) around every position of the levels of one square image; `shapes` are the levels' (h, w)."""
    parts = [
        jnp.concatenate([grid_centres(h, w), jnp.broadcast_to(jnp.array([ANCHOR / w, ANCHOR / h]), (h * w, 2))], -1)
        for h, w in shapes
    ]
    return jnp.concatenate(parts)


def select_proposals(scores: Float[Array, "n p"], boxes: Float[Array, "n p 4"], count: int) -> Int[Array, "n q"]:
    """The indices of the best proposals, without repetitions of the same object as long as there are others.

    One-to-many training gives many proposals for each object. Without suppression (as in DETA, Ouyang-Zhang et al.
    2022) a few large objects would take all queries.
    """
    candidates = min(CANDIDATES * count, scores.shape[1])
    best, index = jax.lax.top_k(jax.lax.stop_gradient(scores), candidates)
    chosen = corners(jnp.take_along_axis(jax.lax.stop_gradient(boxes), index[..., None], 1))
    keep = nms_mask(chosen, best, SAME_OBJECT, sweeps=SWEEPS)
    # Suppressed proposals come after all others, in their order.
    rank = jnp.where(keep, 0, candidates) + jnp.arange(candidates)
    order = jnp.argsort(rank, -1)[:, :count]
    return jnp.take_along_axis(index, order, 1)
