"""Stage 3: what a query is, in CLIP space, and where it is."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from remoteclip_jax.clip.layers import Dense
from remoteclip_jax.ops.similarity import unit

SCALE, MAX_SCALE = 14.0, 100.0  # CLIP's own start and bound
MIN_SPREAD = 0.05
DIRECTIONS = 64  # in which prompts differ most, and which P evens out
MAX_GAIN = 16.0
LEAST_DIFFERENCE = 1e-3  # of the largest one


class ClassHead(nn.Module):
    """Class features f = normalise(P·W·h(q)) in CLIP space, and logits exp(s)·<f, t̂> + b against any embeddings t,
    where t̂ = normalise(P·t).

    P, a constant of the run (see `adapt`), whitens the prompts of the training. CLIP's texts are close together (mean
    cosine 0.76 among the DIOR classes of RemoteCLIP, 0.93 with a random tower): without P the gradient of "some object"
    is dozens of times that of "which object", and the classes are told apart last. With nothing left of the direction
    that they share, "some object, of whatever class" could not be said.

    The logits are computed without f, whose 1024 numbers at each of thousands of positions would cost more than all the
    rest of the head: <PW h, t̂> = h·(WᵀPt̂), and |PW h|² = hᵀ(WᵀP²W)h.
    """

    width: int
    embed_dim: int
    prior: float = 0.01  # the score of every class at the beginning
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.hidden = Dense(self.width, dtype=self.dtype)
        init = nn.initializers.normal(self.width**-0.5)
        self.projection = self.param("projection", init, (self.width, self.embed_dim))
        self.directions = self.param("directions", nn.initializers.zeros, (DIRECTIONS, self.embed_dim))
        self.gains = self.param("gains", nn.initializers.ones, (DIRECTIONS,))
        self.scale = self.param("scale", nn.initializers.constant(math.log(SCALE)), ())
        self.bias = self.param("bias", nn.initializers.constant(math.log(self.prior / (1 - self.prior))), ())

    def __call__(self, q: Float[Array, "n q d"], texts: Float[Array, "*n k e"]) -> Float[Array, "n q k"]:
        """Logits of the queries for unit-length embeddings [k, e], or [n, k, e] of each image's own; float32."""
        return self.cosines(q, texts) / self.temperature() + self.bias

    def cosines(self, q: Float[Array, "n q d"], texts: Float[Array, "*n k e"]) -> Float[Array, "n q k"]:
        """<f, t̂> in [-1, 1]."""
        hidden, kernel = self._hidden(q), self._whitened(self.projection)
        # What depends on no query is small, and worth a GPU's full float32; the queries' own products may be TF32.
        with jax.default_matmul_precision("highest"):
            gram, prompts = kernel @ kernel.T, jnp.swapaxes(self.distinct(texts) @ kernel.T, -1, -2)
        lengths = jnp.sqrt(jnp.maximum(jnp.sum((hidden @ gram) * hidden, -1, keepdims=True), 1e-8))
        return hidden @ prompts / lengths

    def temperature(self) -> Float[Array, ""]:
        """exp(−s)."""
        return jnp.maximum(jnp.exp(-self.scale), 1 / MAX_SCALE)

    def likeness(self, embeddings: Float[Array, "n e"], texts: Float[Array, "k e"]) -> Float[Array, "n k"]:
        """exp(s)·<normalise(P z), t̂> of CLIP embeddings z, which no layer of this head has seen; s as it is."""
        z = self.distinct(embeddings.astype(jnp.float32))
        return z @ self.distinct(texts).T / jax.lax.stop_gradient(self.temperature())

    def features(self, q: Float[Array, "n q d"]) -> Float[Array, "n q e"]:
        """The class features f themselves, of unit length."""
        return unit(self._hidden(q) @ self._whitened(self.projection))

    def distinct(self, texts: Float[Array, "*n k e"]) -> Float[Array, "*n k e"]:
        """t̂: what tells embeddings apart, of unit length."""
        return unit(self._whitened(texts) + 1e-8)

    def _hidden(self, q: Array) -> Array:
        return nn.gelu(self.hidden(q)).astype(jnp.float32)

    def _whitened(self, x: Array) -> Array:
        directions, gains = jax.lax.stop_gradient((self.directions, self.gains))
        with jax.default_matmul_precision("highest"):
            return x + ((x @ directions.T) * (gains - 1)) @ directions


def adapt(head: dict[str, Array], texts: Float[Array, "k e"]) -> dict[str, Array]:
    """The parameters `head` of a new ClassHead, set up for training with these prompts: their principal directions, at
    gains that even them out, and a scale at which the differences that are left weigh as those of orthogonal prompts.

    What all prompts share is shrunk to the size of a difference. Differences are evened out as far as `MAX_GAIN` goes:
    a random text tower says "tennis court" and "basketball court" with a cosine of 0.95 even after their mean is
    taken out; RemoteCLIP's prompts are nearly whitened as they are, and P nearly is the identity among them.
    """
    t = np.asarray(texts, np.float64)
    mean = t.mean(0) / np.linalg.norm(t.mean(0))
    apart = t - (t @ mean)[:, None] * mean
    spread, shared = _root_mean_square(apart), _root_mean_square((t @ mean)[:, None])
    if not spread >= MIN_SPREAD:  # one prompt, several alike, or opposites without a mean
        return head
    _, sizes, rows = np.linalg.svd(apart, full_matrices=False)
    # Prompts that are the same, or nearly, leave directions that mean nothing.
    some = min(int((sizes > LEAST_DIFFERENCE * sizes[0]).sum()), DIRECTIONS - 1)
    even = np.sqrt(np.square(sizes).sum() / (len(t) - 1))
    directions, gains = np.zeros((DIRECTIONS, t.shape[1])), np.ones(DIRECTIONS)
    directions[: some + 1] = np.concatenate([mean[None], rows[:some]])
    gains[0] = min(spread / shared, 1.0)
    gains[1 : some + 1] = np.minimum(even / sizes[:some], MAX_GAIN)
    whitened = t + ((t @ directions.T) * (gains - 1)) @ directions
    whitened /= np.linalg.norm(whitened, axis=-1, keepdims=True)
    # The projection stays random: features that began among the prompts' differences would begin sure of themselves,
    # and the prior would be gone.
    scale = math.log(min(SCALE / _root_mean_square(whitened - (whitened @ mean)[:, None] * mean), MAX_SCALE))
    adapted = {"directions": directions, "gains": gains, "scale": np.array(scale)}
    return {**head, **{name: jnp.asarray(value, jnp.float32) for name, value in adapted.items()}}


def _root_mean_square(rows: Float[np.ndarray, "k e"]) -> float:
    """Of their lengths."""
    return float(np.sqrt(np.square(rows).sum(-1).mean()))


class BoxHead(nn.Module):
    """Refinement (see `boxes.refine`) of each query's box; starts at zero."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, q: Float[Array, "n q d"]) -> Float[Array, "n q 4"]:
        hidden = nn.relu(Dense(q.shape[-1], dtype=self.dtype, name="hidden")(q))
        return Dense(4, dtype=self.dtype, kernel_init=nn.initializers.zeros, name="delta")(hidden).astype(jnp.float32)
