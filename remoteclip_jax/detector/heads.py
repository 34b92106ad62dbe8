"""Stage 3: what a query is, in CLIP space, and where it is."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from remoteclip_jax.clip.layers import Dense
from remoteclip_jax.clip.model import unit

SCALE, MAX_SCALE = 14.0, 100.0  # CLIP's own start and bound
MIN_SPREAD = 0.05


class ClassHead(nn.Module):
    """Class features f = normalise(P·W·h(q)) in CLIP space, and logits exp(s)·<f, t> + b against any embeddings t.

    P shrinks the direction that all prompts have in common (by `common`, a constant of the run; see `adapt`). CLIP's
    texts are close together (mean cosine 0.76 among the DIOR classes of RemoteCLIP): without P the gradient of "some
    object" is dozens of times that of "which object", and the classes are told apart last. With nothing left of that
    direction, "some object, of whatever class" could not be said.

    The logits are computed without f, whose 1024 numbers at each of thousands of positions would cost more than all the
    rest of the head: <PW h, t> = h·(WᵀPt), and |PW h|² = hᵀ(WᵀPW)h.
    """

    width: int
    embed_dim: int
    prior: float = 0.01  # the score of every class at the beginning
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.hidden = Dense(self.width, dtype=self.dtype)
        init = nn.initializers.normal(self.width**-0.5)
        self.projection = self.param("projection", init, (self.width, self.embed_dim))
        self.common = self.param("common", nn.initializers.zeros, (self.embed_dim,))
        self.scale = self.param("scale", nn.initializers.constant(math.log(SCALE)), ())
        self.bias = self.param("bias", nn.initializers.constant(math.log(self.prior / (1 - self.prior))), ())

    def __call__(self, q: Float[Array, "n q d"], texts: Float[Array, "*n k e"]) -> Float[Array, "n q k"]:
        """Logits of the queries for unit-length embeddings [k, e], or [n, k, e] of each image's own; float32."""
        return self.cosines(q, texts) / self.temperature() + self.bias

    def cosines(self, q: Float[Array, "n q d"], texts: Float[Array, "*n k e"]) -> Float[Array, "n q k"]:
        """<f, t> in [-1, 1]."""
        hidden, kernel = self._hidden(q), self._without_common(self.projection)
        lengths = jnp.sqrt(jnp.maximum(jnp.sum((hidden @ (kernel @ kernel.T)) * hidden, -1, keepdims=True), 1e-8))
        return hidden @ jnp.swapaxes(texts @ kernel.T, -1, -2) / lengths

    def temperature(self) -> Float[Array, ""]:
        """exp(−s)."""
        return jnp.maximum(jnp.exp(-self.scale), 1 / MAX_SCALE)

    def likeness(self, embeddings: Float[Array, "n e"], texts: Float[Array, "k e"]) -> Float[Array, "n k"]:
        """exp(s)·<P z, t> of CLIP embeddings z, which no layer of this head has seen; s as it is."""
        z = unit(self._without_common(embeddings.astype(jnp.float32)))
        return z @ texts.T / jax.lax.stop_gradient(self.temperature())

    def features(self, q: Float[Array, "n q d"]) -> Float[Array, "n q e"]:
        """The class features f themselves, of unit length."""
        return unit(self._hidden(q) @ self._without_common(self.projection))

    def distinct(self, texts: Float[Array, "k e"]) -> Float[Array, "k e"]:
        """What tells prompts apart: P t, of unit length."""
        return unit(self._without_common(texts) + 1e-8)

    def _hidden(self, q: Array) -> Array:
        return nn.gelu(self.hidden(q)).astype(jnp.float32)

    def _without_common(self, x: Array) -> Array:
        common = jax.lax.stop_gradient(self.common)
        return x - (x @ common)[..., None] * common


def adapt(head: dict[str, Array], texts: Float[Array, "k e"]) -> dict[str, Array]:
    """The parameters `head` of a new ClassHead, set up for training with these prompts: the direction that they have in
    common, and a scale at which their differences weigh as those of orthogonal prompts would."""
    mean = unit(texts.mean(0))
    apart = texts - (texts @ mean)[:, None] * mean
    spread = jnp.sqrt(jnp.square(apart).sum(-1).mean())
    shared = jnp.sqrt(jnp.square(texts @ mean).mean())
    if not spread >= MIN_SPREAD:  # one prompt, several alike, or opposites without a mean
        return head
    # The projection stays random: features that began among the prompts' differences would begin sure of themselves,
    # and the focal loss's prior would be gone.
    scale = jnp.log(jnp.minimum(SCALE / spread, MAX_SCALE)).astype(jnp.float32)
    share = jnp.minimum(spread / shared, 1)  # what P leaves of the common direction: as much as of a difference
    return {**head, "common": mean * jnp.sqrt(1 - share), "scale": scale}


class BoxHead(nn.Module):
    """Refinement (see `boxes.refine`) of each query's box; starts at zero."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, q: Float[Array, "n q d"]) -> Float[Array, "n q 4"]:
        hidden = nn.relu(Dense(q.shape[-1], dtype=self.dtype, name="hidden")(q))
        return Dense(4, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="delta")(hidden).astype(jnp.float32)
