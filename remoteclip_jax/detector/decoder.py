"""Stage 2b: queries that read the prompts, the global context and the maps, and move their boxes, layer by layer.

Every part of a layer starts as the identity, so that the decoder begins with what the proposals know already.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from remoteclip_jax.clip.layers import Dense, LayerNorm
from remoteclip_jax.detector.config import STRIDES, DetectorConfig
from remoteclip_jax.detector.deformable import DeformableAttention
from remoteclip_jax.detector.encoder import Attention, FeedForward, sine_embedding
from remoteclip_jax.ops.boxes import Boxes

OCTAVE = 32.0  # twice the size is as far away as this many pixels


def box_embedding(boxes: Boxes, side: int, width: int) -> Float[Array, "... width"]:
    """Where boxes are, in pixels of an image of `side` pixels, and how large, by the logarithm of their size: the same
    for the same object whatever the size of the image around it. `width` is a multiple of 8."""
    octaves = jnp.log2(jnp.maximum(boxes[..., 2:] * side, 1))
    values = boxes[..., :2] * side, OCTAVE * octaves
    return jnp.concatenate([sine_embedding(x, width // 2) for x in values], -1)


class TextConditioner(nn.Module):
    """q̃ = q + tanh(g)·attention of q to all prompts; the gate g starts at zero. Prompts are a set: their order and
    masked ones change nothing, and nothing tells which of them are in the image."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, q: Float[Array, "n q d"], texts: Float[Array, "k e"], known: Bool[Array, "k"]
    ) -> Float[Array, "n q d"]:
        n, _, d = q.shape
        t = LayerNorm(dtype=self.dtype)(Dense(d, dtype=self.dtype, name="texts")(texts))
        t = jnp.broadcast_to(t, (n, *t.shape))
        gate = self.param("gate", nn.initializers.zeros, ())
        # Behind a gate the projection must not start at zero too: neither would ever get a gradient.
        y = Attention(self.heads, self.dtype, zero=False)(LayerNorm(dtype=self.dtype)(q), t, t, known)
        return q + jnp.tanh(gate).astype(self.dtype) * y


class ContextGating(nn.Module):
    """The image's global context I_g at each query. `film` (Perez et al. 2018): q' = γ⊙q̃ + β with γ, β = MLP(I_g);
    `concat_mlp`: q' = q̃ + MLP([q̃, I_g]); `none`: q' = q̃. Each starts as the identity."""

    kind: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, q: Float[Array, "n q d"], context: Float[Array, "n e"]) -> Float[Array, "n q d"]:
        if self.kind == "none":
            return q
        d = q.shape[-1]
        out = partial(Dense, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="out")
        c = LayerNorm(dtype=self.dtype, name="norm")(Dense(d, dtype=self.dtype, name="context")(context))[:, None]
        if self.kind == "film":
            gamma, beta = jnp.split(out(2 * d)(nn.gelu(c)), 2, -1)
            return (1 + gamma) * q + beta
        joined = jnp.concatenate([q, jnp.broadcast_to(c, q.shape)], -1)
        return q + out(d)(nn.gelu(Dense(d, dtype=self.dtype, name="hidden")(joined)))


class DecoderLayer(nn.Module):
    """Self-attention, text conditioner, context gating, deformable attention into the maps, feed-forward."""

    config: DetectorConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        q: Float[Array, "n q d"],
        boxes: Boxes,
        maps: Sequence[Array],
        context: Float[Array, "n e"],
        texts: Float[Array, "k e"],
        known: Bool[Array, "k"],
        mask: Bool[Array, "*n q q"] | None,
    ) -> Float[Array, "n q d"]:
        c, norm, d = self.config, partial(LayerNorm, dtype=self.dtype), q.shape[-1]
        embedded = box_embedding(boxes, STRIDES[0] * maps[0].shape[1], 8 * (d // 8))
        place = Dense(d, dtype=self.dtype, name="place")(embedded.astype(self.dtype))
        normed = norm(name="self_norm")(q)
        q = q + Attention(c.heads, self.dtype, name="self")(normed + place, normed + place, normed, mask)
        if c.text_conditioning:
            q = TextConditioner(c.heads, self.dtype, name="text")(q, texts, known)
        q = ContextGating(c.gating, self.dtype, name="gating")(q, context)
        looking = norm(name="look_norm")(q) + place
        q = q + DeformableAttention(c.heads, c.points, self.dtype, name="look")(looking, boxes, maps)
        return FeedForward(c.feed_forward, self.dtype, name="feed_forward")(q)
