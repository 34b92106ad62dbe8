"""Multi-scale deformable attention (Zhu et al. 2021, Deformable DETR): each query looks at a few points it chooses."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from remoteclip_jax.clip.layers import Dense


def sample(values: Float[Array, "n h w m d"], points: Float[Array, "n m p 2"]) -> Float[Array, "n m p d"]:
    """Bilinear samples of m maps at p points (x, y) in [0, 1] of each; outside the map is zero.

    Equal to `torch.nn.functional.grid_sample(…, padding_mode="zeros", align_corners=False)`.
    """
    n, h, w, m, d = values.shape
    flat = values.transpose(0, 3, 1, 2, 4).reshape(n, m, h * w, d)
    place = points * jnp.array([w, h], points.dtype) - 0.5
    low = jnp.floor(place)
    share = place - low
    low = low.astype(jnp.int32)
    out = jnp.zeros((), flat.dtype)
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        x, y = low[..., 0] + dx, low[..., 1] + dy
        weight = (share[..., 0] if dx else 1 - share[..., 0]) * (share[..., 1] if dy else 1 - share[..., 1])
        weight = jnp.where((x >= 0) & (x < w) & (y >= 0) & (y < h), weight, 0)
        index = jnp.clip(y, 0, h - 1) * w + jnp.clip(x, 0, w - 1)
        out = out + weight[..., None].astype(flat.dtype) * jnp.take_along_axis(flat, index[..., None], 2)
    return out


class DeformableAttention(nn.Module):
    """Attention of q into the maps, at `points` places a head and level, offset from the box's centre in units of its
    half size. The output projection starts at zero: a residual around it is the identity."""

    heads: int
    points: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, q: Float[Array, "n q d"], boxes: Float[Array, "n q 4"], maps: Sequence[Float[Array, "n _h _w d"]]
    ) -> Float[Array, "n q d"]:
        n, count, d = q.shape
        shape = (n, count, self.heads, len(maps), self.points)
        zeros = nn.initializers.zeros
        offsets = Dense(2 * math.prod(shape[2:]), kernel_init=zeros, bias_init=self._ring, name="offsets")(q)
        weights = Dense(math.prod(shape[2:]), kernel_init=zeros, name="weights")(q).astype(jnp.float32)
        weights = jax.nn.softmax(weights.reshape(*shape[:3], -1)).reshape(shape)
        offsets = offsets.astype(jnp.float32).reshape(*shape, 2)
        centre, size = boxes[:, :, None, None, None, :2], boxes[:, :, None, None, None, 2:]
        places = centre + offsets * size / 2
        out = jnp.zeros((), self.dtype)
        for level, x in enumerate(maps):
            values = Dense(d, dtype=self.dtype, name=f"value{level}")(x)
            values = values.reshape(*x.shape[:3], self.heads, d // self.heads)
            points = places[:, :, :, level].transpose(0, 2, 1, 3, 4).reshape(n, self.heads, -1, 2)
            sampled = sample(values, points).reshape(n, self.heads, count, self.points, -1)
            out = out + jnp.einsum("nhqpd,nqhp->nqhd", sampled, weights[:, :, :, level].astype(sampled.dtype))
        return Dense(d, dtype=self.dtype, kernel_init=zeros, name="out")(out.reshape(n, count, d))

    def _ring(self, key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        """Each head looks into its own direction, each point farther out, up to the box's border."""
        levels = shape[0] // (2 * self.heads * self.points)
        angle = 2 * np.pi * np.arange(self.heads) / self.heads
        ray = np.stack([np.cos(angle), np.sin(angle)], -1)
        ray /= np.abs(ray).max(-1, keepdims=True)
        distance = (np.arange(self.points) + 1) / self.points
        start = ray[:, None, None, :] * distance[None, None, :, None] * np.ones((1, levels, 1, 1))
        return jnp.asarray(start.reshape(-1), dtype)
