"""Stage 1: multi-scale maps of the image tower, a hybrid pyramid over them, and the global context I_g.

The pyramid is RT-DETR's hybrid encoder (Zhao et al. 2024) in small: attention on the coarsest map alone, where it is
cheap, then top-down and bottom-up fusion by convolutions.
"""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from remoteclip_jax.clip.layers import Conv, Dense, LayerNorm, attend, average_pool
from remoteclip_jax.detector.config import STRIDES
from remoteclip_jax.ops.batch_norm import BatchNorm

Map = Float[Array, "n h w d"]
Maps = list[Float[Array, "n _ _ d"]]  # each level has a height and a width of its own

WAVES = (16.0, 256.0)  # pixels


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
    """Multi-head attention with projections. With `zero` the last starts at zero: a residual around it is the
    identity."""

    heads: int
    dtype: Any
    zero: bool = True

    @nn.compact
    def __call__(
        self, q: Float[Array, "n q d"], k: Float[Array, "n k d"], v: Float[Array, "n k d"], mask: Array | None = None
    ) -> Float[Array, "n q d"]:
        d = q.shape[-1]
        dense = partial(Dense, d, dtype=self.dtype)
        y = attend(dense(name="query")(q), dense(name="key")(k), dense(name="value")(v), self.heads, mask)
        init = nn.initializers.zeros if self.zero else nn.initializers.lecun_normal()
        return dense(kernel_init=init, name="out")(y)


class FeedForward(nn.Module):
    """Pre-norm residual MLP; starts as the identity."""

    hidden: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        y = nn.gelu(Dense(self.hidden, dtype=self.dtype)(LayerNorm(dtype=self.dtype)(x)))
        return x + Dense(x.shape[-1], dtype=self.dtype, kernel_init=nn.initializers.zeros)(y)


def sine_embedding(pixels: Float[Array, "... c"], width: int) -> Float[Array, "... width"]:
    """Sines and cosines of each of c coordinates in pixels (Vaswani et al. 2017; in two dimensions, DETR), with waves
    from `WAVES[0]` to `WAVES[1]` pixels long. `width` is a multiple of 2c.

    DETR measures in units of the image. Here whole images are predicted that are larger than the windows of training:
    in pixels, and with waves no longer than a window, nothing is embedded that was never seen there.
    """
    count = width // pixels.shape[-1] // 2
    shortest, longest = WAVES
    lengths = longest * (shortest / longest) ** (jnp.arange(count) / max(count - 1, 1))
    angles = pixels[..., None] * (2 * math.pi / lengths)
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1).reshape(*pixels.shape[:-1], width)


def grid(h: int, w: int) -> Float[Array, "hw 2"]:
    """Centres (x, y) in [0, 1] of a map's positions, row by row."""
    y, x = jnp.meshgrid((jnp.arange(h) + 0.5) / h, (jnp.arange(w) + 0.5) / w, indexing="ij")
    return jnp.stack([x, y], -1).reshape(h * w, 2)


class Pyramid(nn.Module):
    """C3, C4, C5 to three maps of `width` channels at the same strides 8, 16, 32."""

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
        placed = normed + sine_embedding(grid(h, w) * STRIDES[-1] * jnp.array([w, h]), d).astype(self.dtype)
        tokens = tokens + Attention(self.heads, self.dtype, name="attention")(placed, placed, normed)
        c5 = FeedForward(self.feed_forward, self.dtype, name="feed_forward")(tokens).reshape(n, h, w, d)
        p4 = block(name="down4")(nn.relu(c4 + _double(c5)), train)
        p3 = block(name="down3")(nn.relu(c3 + _double(p4)), train)
        n4 = block(name="up4")(nn.relu(p4 + Dense(d, dtype=self.dtype, name="to4")(average_pool(p3, 2))), train)
        n5 = block(name="up5")(nn.relu(c5 + Dense(d, dtype=self.dtype, name="to5")(average_pool(n4, 2))), train)
        return [p3, n4, n5]


def _double(x: Map) -> Float[Array, "n 2*h 2*w d"]:
    """Twice as high and wide, by repetition."""
    n, h, w, d = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (n, h, 2, w, 2, d)).reshape(n, 2 * h, 2 * w, d)


def flatten(maps: Maps) -> Float[Array, "n p d"]:
    """All positions of all levels, finest first."""
    return jnp.concatenate([x.reshape(x.shape[0], -1, x.shape[-1]) for x in maps], 1)
