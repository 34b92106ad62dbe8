"""The text tower: CLIP's causal transformer (Radford et al. 2021, section 2.4), with open_clip's module names."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from remoteclip_jax.clip.layers import Dense, LayerNorm, multi_head_attention
from remoteclip_jax.ops.initializers import normal


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """OpenAI's approximation of GELU, x·sigmoid(1.702x). RemoteCLIP was fine-tuned with the exact GELU."""
    return x * jax.nn.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Causal self-attention. One product computes queries, keys and values, as in `torch.nn.MultiheadAttention`."""

    heads: int
    layers: int  # of the whole tower: OpenAI's initialisation depends on the depth
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "n l d"]) -> Float[Array, "n l d"]:
        length, width = x.shape[1:]
        inner, outer = normal(width**-0.5), normal((width * 2 * self.layers) ** -0.5)
        q, k, v = jnp.split(Dense(3 * width, dtype=self.dtype, kernel_init=inner, name="in_proj")(x), 3, -1)
        x = multi_head_attention(q, k, v, self.heads, jnp.tril(jnp.ones((length, length), bool)))
        return Dense(width, dtype=self.dtype, kernel_init=outer, name="out_proj")(x)


class MLP(nn.Module):
    """Two dense layers with a GELU between them; the hidden layer is four times as wide."""

    layers: int
    quick_gelu: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "n l d"]) -> Float[Array, "n l d"]:
        width = x.shape[-1]
        inner, outer = normal((2 * width) ** -0.5), normal((width * 2 * self.layers) ** -0.5)
        x = Dense(4 * width, dtype=self.dtype, kernel_init=inner, name="c_fc")(x)
        x = quick_gelu(x) if self.quick_gelu else nn.gelu(x, approximate=False)
        return Dense(width, dtype=self.dtype, kernel_init=outer, name="c_proj")(x)


class ResidualBlock(nn.Module):
    """Pre-norm attention and MLP, each with a residual connection."""

    heads: int
    layers: int
    quick_gelu: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "n l d"]) -> Float[Array, "n l d"]:
        x = x + Attention(self.heads, self.layers, self.dtype, name="attn")(LayerNorm(dtype=self.dtype, name="ln_1")(x))
        return x + MLP(self.layers, self.quick_gelu, self.dtype, name="mlp")(
            LayerNorm(dtype=self.dtype, name="ln_2")(x)
        )


class ResidualBlocks(nn.Module):
    """The blocks "0", "1", …; torch's name for them is `resblocks`."""

    layers: int
    heads: int
    quick_gelu: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "n l d"]) -> Float[Array, "n l d"]:
        for i in range(self.layers):
            x = ResidualBlock(self.heads, self.layers, self.quick_gelu, self.dtype, name=str(i))(x)
        return x


class Transformer(nn.Module):
    """The blocks under torch's name `resblocks`."""

    layers: int
    heads: int
    quick_gelu: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "n l d"]) -> Float[Array, "n l d"]:
        return ResidualBlocks(self.layers, self.heads, self.quick_gelu, self.dtype, name="resblocks")(x)


class TextTransformer(nn.Module):
    """Token ids [n, l], l at most `context_length`, to text embeddings [n, embed_dim], not normalised.

    The embedding is taken at the end token, which has the largest id in the vocabulary. Tokens attend to earlier ones
    alone, so that the padding behind it changes nothing, and may be cut off.
    """

    embed_dim: int
    context_length: int
    vocab_size: int
    width: int
    heads: int
    layers: int
    quick_gelu: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, ids: Int[Array, "n l"]) -> Float[Array, "n d"]:
        embedding = nn.Embed(
            self.vocab_size, self.width, dtype=self.dtype, embedding_init=normal(0.02), name="token_embedding"
        )
        position = self.param("positional_embedding", normal(0.01), (self.context_length, self.width))
        projection = self.param("text_projection", normal(self.width**-0.5), (self.width, self.embed_dim))
        x = embedding(ids) + position[: ids.shape[1]].astype(self.dtype)
        x = Transformer(self.layers, self.heads, self.quick_gelu, self.dtype, name="transformer")(x)
        x = LayerNorm(dtype=self.dtype, name="ln_final")(x)
        return x[jnp.arange(x.shape[0]), ids.argmax(-1)] @ projection.astype(self.dtype)
