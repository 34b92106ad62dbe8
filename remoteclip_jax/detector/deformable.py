"""Multi-scale deformable attention (Zhu et al. 2021, Deformable DETR): each query samples a few points it chooses."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from remoteclip_jax.clip.layers import Dense
from remoteclip_jax.ops.sampling import sample


class DeformableAttention(nn.Module):
    """Attention of q to the maps, at `points` points for each head and level.

    The offsets of the points from the box's centre are in units of half its size. The output projection starts at zero,
    so that a residual connection around the module is the identity.
    """

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
        offsets = Dense(2 * math.prod(shape[2:]), kernel_init=zeros, bias_init=self._initial_offsets, name="offsets")(q)
        weights = Dense(math.prod(shape[2:]), kernel_init=zeros, name="weights")(q).astype(jnp.float32)
        weights = jax.nn.softmax(weights.reshape(*shape[:3], -1)).reshape(shape)
        offsets = offsets.astype(jnp.float32).reshape(*shape, 2)
        centre, size = boxes[:, :, None, None, None, :2], boxes[:, :, None, None, None, 2:]
        locations = centre + offsets * size / 2
        values = [
            Dense(d, dtype=self.dtype, name=f"value{level}")(x).reshape(*x.shape[:3], self.heads, d // self.heads)
            for level, x in enumerate(maps)
        ]
        out = sample(values, locations, weights).reshape(n, count, d)
        return Dense(d, dtype=self.dtype, kernel_init=zeros, name="out")(out)

    def _initial_offsets(
        self, key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32
    ) -> Float[Array, " b"]:
        """Each head has its own direction, and each of its points lies farther out, up to the box's border."""
        levels = shape[0] // (2 * self.heads * self.points)
        angle = 2 * np.pi * np.arange(self.heads) / self.heads
        direction = np.stack([np.cos(angle), np.sin(angle)], -1)
        direction /= np.abs(direction).max(-1, keepdims=True)
        distance = (np.arange(self.points) + 1) / self.points
        start = direction[:, None, None, :] * distance[None, None, :, None] * np.ones((1, levels, 1, 1))
        return jnp.asarray(start.reshape(-1), dtype)
