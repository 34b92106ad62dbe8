"""Stage 1: a feature pyramid over the image tower's multi-scale maps.

The pyramid is a small version of RT-DETR's hybrid encoder (Zhao et al. 2024): attention on the coarsest map only, where
it is cheap, then top-down and bottom-up fusion by convolutions.
"""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from remoteclip_jax.clip.layers import Conv, Dense, LayerNorm, average_pool, multi_head_attention
from remoteclip_jax.detector.config import STRIDES
from remoteclip_jax.ops.batch_norm import BatchNorm
from remoteclip_jax.ops.initializers import lecun_normal, zeros

Map = Float[Array, "n h w d"]
Maps = list[Float[Array, "n _ _ d"]]  # each level has a height and a width of its own

WAVES = (16.0, 256.0)  # the shortest and the longest wavelength of `sine_embedding`, in pixels


class Block(nn.Module):
    """A residual bottleneck: 1×1 to half the width, 3×3, 1×1 back."""

    axis_name: str | None
    dtype: Any

    @nn.compact
    def __call__(self, x: Map, train: bool) -> Map:
        d = x.shape[-1]
        norm = partial(BatchNorm, self.axis_name, self.dtype)
        y = nn.relu(norm()(Conv(d // 2, 1, dtype=self.dtype)(x), train))
        y = nn.relu(norm()(Conv(d // 2, 3, dtype=self.dtype)(y), train))
        return nn.relu(x + norm()(Conv(d, 1, dtype=self.dtype)(y), train))


class Attention(nn.Module):
    """Multi-head attention with projections.

    With `zero` the output projection starts at zero, so that a residual connection around the module is the identity.
    """

    heads: int
    dtype: Any
    zero: bool = True

    @nn.compact
    def __call__(
        self,
        q: Float[Array, "n q d"],
        k: Float[Array, "n k d"],
        v: Float[Array, "n k d"],
        mask: Bool[Array, "..."] | None = None,
    ) -> Float[Array, "n q d"]:
        d = q.shape[-1]
        dense = partial(Dense, d, dtype=self.dtype)
        query, key, value = dense(name="query")(q), dense(name="key")(k), dense(name="value")(v)
        y = multi_head_attention(query, key, value, self.heads, mask)
        init = zeros if self.zero else lecun_normal
        return dense(kernel_init=init, name="out")(y)


class FeedForward(nn.Module):
    """A pre-norm MLP with a residual connection; starts as the identity."""

    hidden: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        y = nn.gelu(Dense(self.hidden, dtype=self.dtype)(LayerNorm(dtype=self.dtype)(x)))
        return x + Dense(x.shape[-1], dtype=self.dtype, kernel_init=zeros)(y)


def sine_embedding(pixels: Float[Array, "... c"], width: int) -> Float[Array, "... width"]:
    """Sines and cosines of c coordinates in pixels (Vaswani et al. 2017; in two dimensions, Carion et al. 2020, DETR).

    The wavelengths go from `WAVES[0]` to `WAVES[1]` pixels. `width` is a multiple of 2c. DETR uses units of the image.
    Here whole images at prediction are larger than the windows of training. With pixels as units, and wavelengths no
    longer than a window, every value at prediction also occurred in training.
    """
    count = width // pixels.shape[-1] // 2
    shortest, longest = WAVES
    lengths = longest * (shortest / longest) ** (jnp.arange(count) / max(count - 1, 1))
    angles = pixels[..., None] * (2 * math.pi / lengths)
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1).reshape(*pixels.shape[:-1], width)


def grid_centres(h: int, w: int) -> Float[Array, "hw 2"]:
    """The centres (x, y), in [0, 1], of a map's positions, row by row."""
    y, x = jnp.meshgrid((jnp.arange(h) + 0.5) / h, (jnp.arange(w) + 0.5) / w, indexing="ij")
    return jnp.stack([x, y], -1).reshape(h * w, 2)


class Pyramid(nn.Module):
    """C3, C4 and C5 as three maps of `width` channels at the same strides 8, 16 and 32."""

    width: int
    heads: int
    feed_forward: int
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, maps: dict[str, Array], train: bool) -> Maps:
        block = partial(Block, self.axis_name, self.dtype)

        def lateral(i: int) -> Map:
            x = Conv(self.width, 1, dtype=self.dtype, name=f"lateral{i}")(maps[f"c{i}"])
            return BatchNorm(self.axis_name, self.dtype, name=f"lateral_norm{i}")(x, train)

        c3, c4, c5 = (lateral(i) for i in (3, 4, 5))
        n, h, w, d = c5.shape
        tokens = c5.reshape(n, h * w, d)
        normed = LayerNorm(dtype=self.dtype, name="attention_norm")(tokens)
        positioned = normed + sine_embedding(grid_centres(h, w) * STRIDES[-1] * jnp.array([w, h]), d).astype(self.dtype)
        tokens = tokens + Attention(self.heads, self.dtype, name="attention")(positioned, positioned, normed)
        c5 = FeedForward(self.feed_forward, self.dtype, name="feed_forward")(tokens).reshape(n, h, w, d)
        p4 = block(name="down4")(nn.relu(c4 + _upsample(c5)), train)
        p3 = block(name="down3")(nn.relu(c3 + _upsample(p4)), train)
        n4 = block(name="up4")(nn.relu(p4 + Dense(d, dtype=self.dtype, name="to4")(average_pool(p3, 2))), train)
        n5 = block(name="up5")(nn.relu(c5 + Dense(d, dtype=self.dtype, name="to5")(average_pool(n4, 2))), train)
        return [p3, n4, n5]


def _upsample(x: Map) -> Float[Array, "n 2*h 2*w d"]:
    """A map twice as high and wide, by nearest neighbours."""
    n, h, w, d = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (n, h, 2, w, 2, d)).reshape(n, 2 * h, 2 * w, d)


def flatten(maps: Maps) -> Float[Array, "n p d"]:
    """The positions of all levels, the finest level first."""
    return jnp.concatenate([x.reshape(x.shape[0], -1, x.shape[-1]) for x in maps], 1)
