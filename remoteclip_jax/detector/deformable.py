"""Multi-scale deformable attention (Zhu et al. 2021, Deformable DETR): each query samples a few points it chooses."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from remoteclip_jax.clip.layers import Dense, HeadProjection, Projection
from remoteclip_jax.detector.config import STRIDES
from remoteclip_jax.ops.cpu.products import matmul
from remoteclip_jax.ops.initializers import Initializer, lecun_normal, zeros
from remoteclip_jax.ops.sampling import sample


class DeformableAttention(nn.Module):
    """Attention of q to the maps, at `points` points for each head and level.

    The offsets of the points from the box's centre are in units of half its size. The output projection starts at zero,
    so that a residual connection around the module is the identity. The value projections of the maps are computed for
    all layers of a decoder together (see `project_values`).
    """

    width: int
    heads: int
    points: int
    levels: int = len(STRIDES)
    dtype: Any = jnp.float32

    def setup(self) -> None:
        count = self.heads * self.levels * self.points
        self.offsets = Dense(2 * count, kernel_init=zeros, bias_init=Initializer(self._initial_offsets))
        self.weights = Dense(count, kernel_init=zeros)
        self.out = Dense(self.width, dtype=self.dtype, kernel_init=zeros)
        for level in range(self.levels):
            setattr(self, f"value{level}", Projection(self.width, self.heads, self.dtype, lecun_normal))

    def value_weights(self) -> list[HeadProjection]:
        """The weights of the value projection of each level."""
        return [getattr(self, f"value{level}")(self.width) for level in range(self.levels)]

    def __call__(
        self, q: Float[Array, "n q d"], boxes: Float[Array, "n q 4"], values: Sequence[Float[Array, "n _h _w m c"]]
    ) -> Float[Array, "n q d"]:
        shape = (*q.shape[:2], self.heads, self.levels, self.points)
        weights = self.weights(q).astype(jnp.float32)
        weights = jax.nn.softmax(weights.reshape(*shape[:3], -1)).reshape(shape)
        offsets = self.offsets(q).astype(jnp.float32).reshape(*shape, 2)
        centre, size = boxes[:, :, None, None, None, :2], boxes[:, :, None, None, None, 2:]
        return self.out(sample(values, centre + offsets * size / 2, weights).reshape(q.shape))

    def _initial_offsets(self, _: np.random.Generator, shape: tuple[int, ...]) -> Float[np.ndarray, " b"]:
        """Each head has its own direction, and each of its points lies farther out, up to the box's border."""
        angle = 2 * np.pi * np.arange(self.heads) / self.heads
        direction = np.stack([np.cos(angle), np.sin(angle)], -1)
        direction /= np.abs(direction).max(-1, keepdims=True)
        distance = (np.arange(self.points) + 1) / self.points
        start = direction[:, None, None, :] * distance[None, None, :, None] * np.ones((1, self.levels, 1, 1))
        return start.reshape(shape)


def project_values(
    maps: Sequence[Float[Array, "n _h _w d"]], layers: Sequence[DeformableAttention]
) -> list[list[Float[Array, "n _h _w m c"]]]:
    """The values of all levels for each of the layers: one product a level, since no layer changes the maps."""
    by_level = []
    for x, weights in zip(maps, zip(*(layer.value_weights() for layer in layers), strict=True), strict=True):
        kernel = jnp.concatenate([w.kernel for w in weights], 1)
        bias = jnp.concatenate([w.bias for w in weights])
        y = matmul(x.astype(kernel.dtype), kernel.reshape(x.shape[-1], -1)) + bias.reshape(-1)
        parts = jax.lax.split(y, [layer.width for layer in layers], axis=3)
        by_level.append([part.reshape(*x.shape[:3], *w.bias.shape) for part, w in zip(parts, weights, strict=True)])
    return [list(values) for values in zip(*by_level, strict=True)]
