"""Stage 3: what a query is, in CLIP space, and where it is."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from remoteclip_jax.clip.layers import Dense
from remoteclip_jax.clip.model import unit

PRIOR_BIAS = -4.6  # a hundredth: the focal loss's prior (Lin et al. 2017)
MAX_SCALE = 100.0  # CLIP's own bound


class ClassHead(nn.Module):
    """Class features f = normalise(W·h(q)) in CLIP space, and logits exp(s)·<f, t> + b against any embeddings t.

    The logits are computed without f, whose 1024 numbers at each of thousands of positions would cost more than all the
    rest of the head: <W h, t> = h·(Wᵀt), and |W h|² = hᵀ(WᵀW)h.
    """

    width: int
    embed_dim: int
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.hidden = Dense(self.width, dtype=self.dtype)
        init = nn.initializers.normal(self.width**-0.5)
        self.projection = self.param("projection", init, (self.width, self.embed_dim))
        self.scale = self.param("scale", nn.initializers.constant(math.log(14.0)), ())
        self.bias = self.param("bias", nn.initializers.constant(PRIOR_BIAS), ())

    def __call__(self, q: Float[Array, "n q d"], texts: Float[Array, "*n k e"]) -> Float[Array, "n q k"]:
        """Logits of the queries for unit-length embeddings [k, e], or [n, k, e] of each image's own; float32."""
        return self.cosines(q, texts) * jnp.minimum(jnp.exp(self.scale), MAX_SCALE) + self.bias

    def cosines(self, q: Float[Array, "n q d"], texts: Float[Array, "*n k e"]) -> Float[Array, "n q k"]:
        """<f, t> in [-1, 1]."""
        hidden, gram = self._hidden(q), self.projection @ self.projection.T
        lengths = jnp.sqrt(jnp.maximum(jnp.sum((hidden @ gram) * hidden, -1, keepdims=True), 1e-8))
        return hidden @ jnp.swapaxes(texts @ self.projection.T, -1, -2) / lengths

    def features(self, q: Float[Array, "n q d"]) -> Float[Array, "n q e"]:
        """The class features f themselves, of unit length."""
        return unit(self._hidden(q) @ self.projection)

    def _hidden(self, q: Array) -> Array:
        return nn.gelu(self.hidden(q)).astype(jnp.float32)


class BoxHead(nn.Module):
    """Refinement (see `boxes.refine`) of each query's box; starts at zero."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, q: Float[Array, "n q d"]) -> Float[Array, "n q 4"]:
        hidden = nn.relu(Dense(q.shape[-1], dtype=self.dtype, name="hidden")(q))
        return Dense(4, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="delta")(hidden).astype(jnp.float32)
