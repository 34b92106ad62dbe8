"""Stage 2b: the decoder. Its queries attend to the prompts, the global context and the maps, and refine their boxes.

Every part of a layer starts as the identity, so that the decoder starts with what the proposals contain.
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
from remoteclip_jax.ops.initializers import zeros

ALIGNMENT = 8  # prompts
OCTAVE = 32.0  # pixels that a factor of two in size counts as


def box_embedding(boxes: Boxes, side: int, width: int) -> Float[Array, "... width"]:
    """Sine embedding of the boxes' centres, in pixels of an image of `side` pixels, and of their sizes' logarithms.

    It is the same for the same object whatever the size of the image around it. `width` is a multiple of 8.
    """
    octaves = jnp.log2(jnp.maximum(boxes[..., 2:] * side, 1))
    values = boxes[..., :2] * side, OCTAVE * octaves
    return jnp.concatenate([sine_embedding(x, width // 2) for x in values], -1)


class TextConditioner(nn.Module):
    """q̃ = q + tanh(g)·attention of q to all prompts; the gate g starts at zero.

    Prompts are a set: neither their order nor masked prompts change anything. Nothing says which of them are in the
    image.
    """

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, q: Float[Array, "n q d"], texts: Float[Array, "k e"], valid: Bool[Array, " k"]
    ) -> Float[Array, "n q d"]:
        n, count, d = q.shape
        # Products of bfloat16 want multiples of eight, and every one of them would be padded by itself.
        padding = -len(texts) % ALIGNMENT
        texts, valid = jnp.pad(texts, ((0, padding), (0, 0))), jnp.pad(valid, (0, padding))
        t = LayerNorm(dtype=self.dtype)(Dense(d, dtype=self.dtype, name="texts")(texts))[None]
        gate = self.param("gate", zeros, ())
        # With the gate at zero the projection must not be zero too: neither would ever get a gradient. The prompts are
        # the same for all images, whose queries are therefore one set.
        normed = LayerNorm(dtype=self.dtype)(q).reshape(1, n * count, d)
        y = Attention(self.heads, self.dtype, zero=False)(normed, t, t, valid).reshape(q.shape)
        return q + jnp.tanh(gate).astype(self.dtype) * y


class ContextGating(nn.Module):
    """Queries modulated by the image's global context I_g. Each kind starts as the identity.

    `film` (Perez et al. 2018): q' = γ⊙q̃ + β with γ, β = MLP(I_g). `concat_mlp`: q' = q̃ + MLP([q̃, I_g]). `none`: q' = q̃.
    """

    kind: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, q: Float[Array, "n q d"], context: Float[Array, "n e"]) -> Float[Array, "n q d"]:
        if self.kind == "none":
            return q
        d = q.shape[-1]
        out = partial(Dense, dtype=self.dtype, kernel_init=zeros, name="out")
        c = LayerNorm(dtype=self.dtype, name="norm")(Dense(d, dtype=self.dtype, name="context")(context))[:, None]
        if self.kind == "film":
            gamma, beta = jnp.split(out(2 * d)(nn.gelu(c)), 2, -1)
            return (1 + gamma) * q + beta
        joined = jnp.concatenate([q, jnp.broadcast_to(c, q.shape)], -1)
        return q + out(d)(nn.gelu(Dense(d, dtype=self.dtype, name="hidden")(joined)))


class DecoderLayer(nn.Module):
    """Self-attention, text conditioner, context gating, deformable attention to the maps, feed-forward.

    `values` are the maps as `project_values` prepares them for this layer. `valid` is False for prompts that only fill
    up the array. `mask` is True where a query may attend to another.
    """

    config: DetectorConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.look = DeformableAttention(self.config.width, self.config.heads, self.config.points, dtype=self.dtype)

    @nn.compact
    def __call__(
        self,
        q: Float[Array, "n q d"],
        boxes: Float[Array, "n q 4"],
        values: Sequence[Float[Array, "n _h _w m c"]],
        context: Float[Array, "n e"],
        texts: Float[Array, "k e"],
        valid: Bool[Array, " k"],
        mask: Bool[Array, "*n q q"] | None,
    ) -> Float[Array, "n q d"]:
        c, norm, d = self.config, partial(LayerNorm, dtype=self.dtype), q.shape[-1]
        embedded = box_embedding(boxes, STRIDES[0] * values[0].shape[1], 8 * (d // 8))
        position = Dense(d, dtype=self.dtype, name="place")(embedded.astype(self.dtype))
        normed = norm(name="self_norm")(q)
        q = q + Attention(c.heads, self.dtype, name="self")(normed + position, normed + position, normed, mask)
        if c.text_conditioning:
            q = TextConditioner(c.heads, self.dtype, name="text")(q, texts, valid)
        q = ContextGating(c.gating, self.dtype, name="gating")(q, context)
        normed = norm(name="look_norm")(q) + position
        q = q + self.look(normed, boxes, values)
        return FeedForward(c.feed_forward, self.dtype, name="feed_forward")(q)
