"""Stage 3: the heads. They say what a query is, in CLIP space, and where it is."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from remoteclip_jax.clip.layers import Dense
from remoteclip_jax.ops.initializers import constant, normal, ones, zeros
from remoteclip_jax.ops.similarity import l2_normalise

SCALE, MAX_SCALE = 14.0, 100.0  # CLIP's own initial value and bound
MIN_SPREAD = 0.05  # root mean square of the prompts' differences, below which there is nothing to whiten
DIRECTIONS = 64  # the largest number of principal directions that P whitens
MAX_GAIN = 16.0
MIN_SINGULAR_VALUE = 1e-3  # relative to the largest one


class ClassHead(nn.Module):
    """Class features f = normalise(P·W·h(q)) in CLIP space, and logits exp(s)·<f, t̂> + b for any embeddings t, where
    t̂ = normalise(P·t).

    P is constant during a run (see `fit_whitening`) and whitens the prompts of the training. CLIP's text embeddings are
    close together: their mean cosine is 0.76 for the DIOR classes with RemoteCLIP, and 0.93 with a random tower.
    Without P the gradient of "an object of any class" is dozens of times larger than that of "an object of this class",
    and the classes are learned last. P keeps a part of the direction that all prompts share, since otherwise no feature
    could mean "an object of any class".

    The logits are computed without f, whose 1024 numbers at each of thousands of positions would cost more than the
    rest of the head: <PW h, t̂> = h·(WᵀPt̂), and |PW h|² = hᵀ(WᵀP²W)h.
    """

    width: int
    embed_dim: int
    prior: float = 0.01  # the score of every class at the start
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.hidden = Dense(self.width, dtype=self.dtype)
        init = normal(self.width**-0.5)
        self.projection = self.param("projection", init, (self.width, self.embed_dim))
        self.directions = self.param("directions", zeros, (DIRECTIONS, self.embed_dim))
        self.gains = self.param("gains", ones, (DIRECTIONS,))
        self.scale = self.param("scale", constant(math.log(SCALE)), ())
        self.bias = self.param("bias", constant(math.log(self.prior / (1 - self.prior))), ())

    def __call__(self, q: Float[Array, "*b q d"], texts: Float[Array, "*n k e"]) -> Float[Array, "*b q k"]:
        """float32 logits of the queries for unit-length embeddings: [k, e], or [n, k, e] if images have their own."""
        return self.logits(*self.states(q), texts)

    def states(self, q: Float[Array, "*b q d"]) -> tuple[Float[Array, "*b q w"], Float[Array, "*b q 1"]]:
        """h(q) and |PW h(q)|: what logits and cosines for any embeddings follow from."""
        hidden = nn.gelu(self.hidden(q))
        kernel, wide = self._apply_whitening(self.projection), hidden.astype(jnp.float32)
        # What does not depend on the queries is small enough for full float32 on a GPU; the rest may be TF32.
        with jax.default_matmul_precision("highest"):
            gram = kernel @ kernel.T
        return hidden, jnp.sqrt(jnp.maximum(jnp.sum((wide @ gram) * wide, -1, keepdims=True), 1e-8))

    def logits(
        self, hidden: Float[Array, "*b q w"], lengths: Float[Array, "*b q 1"], texts: Float[Array, "*n k e"]
    ) -> Float[Array, "*b q k"]:
        """The logits of queries with these states."""
        return self.cosines(hidden, lengths, texts) / self.temperature() + self.bias

    def cosines(
        self, hidden: Float[Array, "*b q w"], lengths: Float[Array, "*b q 1"], texts: Float[Array, "*n k e"]
    ) -> Float[Array, "*b q k"]:
        """The cosines <f, t̂> of queries with these states."""
        kernel = self._apply_whitening(self.projection)
        with jax.default_matmul_precision("highest"):
            prompts = jnp.swapaxes(self.whitened(texts) @ kernel.T, -1, -2)
        return hidden.astype(jnp.float32) @ prompts / lengths

    def temperature(self) -> Float[Array, ""]:
        """exp(−s)."""
        return jnp.maximum(jnp.exp(-self.scale), 1 / MAX_SCALE)

    def similarity(self, embeddings: Float[Array, "n e"], texts: Float[Array, "k e"]) -> Float[Array, "n k"]:
        """exp(s)·<normalise(P z), t̂> of CLIP's own image embeddings z, which pass no layer of this head.

        s gets no gradient.
        """
        z = self.whitened(embeddings.astype(jnp.float32))
        return z @ self.whitened(texts).T / jax.lax.stop_gradient(self.temperature())

    def features(self, q: Float[Array, "n q d"]) -> Float[Array, "n q e"]:
        """The class features f, of unit length."""
        hidden, _ = self.states(q)
        return l2_normalise(hidden.astype(jnp.float32) @ self._apply_whitening(self.projection))

    def whitened(self, texts: Float[Array, "*n k e"]) -> Float[Array, "*n k e"]:
        """t̂ = normalise(P·t)."""
        return l2_normalise(self._apply_whitening(texts) + 1e-8)

    def _apply_whitening(self, x: Float[Array, "*n k e"]) -> Float[Array, "*n k e"]:
        """P·x."""
        directions, gains = jax.lax.stop_gradient((self.directions, self.gains))
        with jax.default_matmul_precision("highest"):
            return x + ((x @ directions.T) * (gains - 1)) @ directions


def fit_whitening(head: dict[str, Array], texts: Float[Array, "k e"]) -> dict[str, Array]:
    """The parameters `head` of a new ClassHead, with a P that whitens these prompts, and a scale that suits it.

    P has the prompts' principal directions, and gains that bring them to the same size, up to `MAX_GAIN`. With a random
    text tower, "tennis court" and "basketball court" have a cosine of 0.95 even without their mean. RemoteCLIP's
    prompts are nearly white already, and P is nearly the identity for their differences. The mean direction, which all
    prompts share, is reduced to the size of a difference. The scale gives the whitened differences the weight that
    differences of orthogonal prompts would have. `head` itself is returned if the prompts do not differ.
    """
    t = np.asarray(texts, np.float64)
    mean = t.mean(0) / np.linalg.norm(t.mean(0))
    differences = t - (t @ mean)[:, None] * mean
    spread, shared = _root_mean_square(differences), _root_mean_square((t @ mean)[:, None])
    if not spread >= MIN_SPREAD:  # one prompt, several that are alike, or opposites without a mean
        return head
    _, sizes, rows = np.linalg.svd(differences, full_matrices=False)
    # Prompts that are nearly equal leave directions that are only rounding errors.
    rank = min(int((sizes > MIN_SINGULAR_VALUE * sizes[0]).sum()), DIRECTIONS - 1)
    target = np.sqrt(np.square(sizes).sum() / (len(t) - 1))
    directions, gains = np.zeros((DIRECTIONS, t.shape[1])), np.ones(DIRECTIONS)
    directions[: rank + 1] = np.concatenate([mean[None], rows[:rank]])
    gains[0] = min(spread / shared, 1.0)
    gains[1 : rank + 1] = np.minimum(target / sizes[:rank], MAX_GAIN)
    whitened = t + ((t @ directions.T) * (gains - 1)) @ directions
    whitened /= np.linalg.norm(whitened, axis=-1, keepdims=True)
    # The projection stays random: features that started among the prompts' differences would give confident scores, far
    # from the prior.
    scale = math.log(min(SCALE / _root_mean_square(whitened - (whitened @ mean)[:, None] * mean), MAX_SCALE))
    fitted = {"directions": directions, "gains": gains, "scale": np.array(scale)}
    return {**head, **{name: jnp.asarray(value, jnp.float32) for name, value in fitted.items()}}


def _root_mean_square(rows: Float[np.ndarray, "k e"]) -> float:
    """The root mean square of the rows' lengths."""
    return float(np.sqrt(np.square(rows).sum(-1).mean()))


class BoxHead(nn.Module):
    """The refinement of each query's box (see `ops.boxes.refine`); starts at zero."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, q: Float[Array, "n q d"]) -> Float[Array, "n q 4"]:
        hidden = nn.relu(Dense(q.shape[-1], dtype=self.dtype, name="hidden")(q))
        return Dense(4, dtype=self.dtype, kernel_init=zeros, name="delta")(hidden).astype(jnp.float32)
