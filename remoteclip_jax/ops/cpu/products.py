"""Matrix products whose gradients are written so that XLA runs them fast on a CPU.

By itself JAX computes the gradient of a matrix as the transpose of gᵀx. On a CPU, XLA then moves the transposition into
the elementwise operations that computed g, and those write their results across the rows of memory.
Derivatives are reverse-mode only: `jax.jvp` does not work on functions with a custom VJP.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Number of rows from which xᵀg is faster on a CPU if the narrower matrix is transposed first: measured on the shapes of
# RN50.
TRANSPOSE_ROWS = 1024

T = TypeVar("T")


@jax.custom_vjp
def matmul(x: Float[Array, "*b c"], kernel: Float[Array, "c d"]) -> Float[Array, "*b d"]:
    """x @ kernel."""
    return x @ kernel


def _forward(
    x: Float[Array, "*b c"], kernel: Float[Array, "c d"]
) -> tuple[Float[Array, "*b d"], tuple[Float[Array, "*b c"], Float[Array, "c d"]]]:
    return x @ kernel, (x, kernel)


def _backward(
    residuals: tuple[Float[Array, "*b c"], Float[Array, "c d"]], g: Float[Array, "*b d"]
) -> tuple[Float[Array, "*b c"], Float[Array, "c d"]]:
    x, kernel = residuals
    # Without the barrier XLA would fuse the computation of g into both of its uses, which costs 4 % of a step.
    g = lax.optimization_barrier(g)
    return g @ kernel.T, correlation(x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1]))


matmul.defvjp(_forward, _backward)


def dot_general(
    x: Float[Array, "*b c"], kernel: Float[Array, "c d"], dimensions: Any, precision: Any = None, **_: Any
) -> Float[Array, "*b d"]:
    """`matmul` for the `dot_general` argument of `flax.linen.Dense`."""
    assert dimensions == (((x.ndim - 1,), (0,)), ((), ())), dimensions
    assert precision is None
    return jnp.asarray(matmul(x, kernel))


@jax.custom_vjp
def matmul_by_head(x: Float[Array, "n h c"], kernel: Float[Array, "c h d"]) -> Float[Array, "n h d"]:
    """The product of each head's x with that head's columns of the kernel."""
    return jnp.einsum("nhc,chd->nhd", x, kernel)


def _forward_by_head(
    x: Float[Array, "n h c"], kernel: Float[Array, "c h d"]
) -> tuple[Float[Array, "n h d"], tuple[Float[Array, "n h c"], Float[Array, "c h d"]]]:
    return matmul_by_head(x, kernel), (x, kernel)


def _backward_by_head(
    residuals: tuple[Float[Array, "n h c"], Float[Array, "c h d"]], g: Float[Array, "n h d"]
) -> tuple[Float[Array, "n h c"], Float[Array, "c h d"]]:
    x, kernel = residuals
    # g comes first, so that its channels are next to each other in memory, as they are in the kernel.
    return jnp.einsum("nhd,chd->nhc", g, kernel), jnp.einsum("nhd,nhc->chd", g, x)


matmul_by_head.defvjp(_forward_by_head, _backward_by_head)


@jax.jit
def correlation(x: Float[Array, "t c"], g: Float[Array, "t d"]) -> Float[Array, "c d"]:
    """xᵀg."""

    def product(x: Float[Array, "t c"], g: Float[Array, "t d"]) -> Float[Array, "c d"]:
        return lax.dot_general(x, g, (((0,), (0,)), ((), ())))

    def transpose_narrower(x: Float[Array, "t c"], g: Float[Array, "t d"]) -> Float[Array, "c d"]:
        if x.shape[1] <= g.shape[1]:
            return fusion_barrier(lambda: x.T) @ g
        y = fusion_barrier(lambda: g.T) @ x
        return fusion_barrier(lambda: y.T)  # otherwise XLA would turn it back into xᵀg

    if len(x) < TRANSPOSE_ROWS:
        return product(x, g)
    return lax.platform_dependent(x, g, cpu=transpose_narrower, default=product)


def fusion_barrier(compute: Callable[[], T]) -> T:
    """The result of `compute()`, which XLA fuses with nothing before or after it.

    XLA moves a transposition into neighbouring operations, even past `lax.optimization_barrier`, but never into or out
    of a branch. The branch here is always taken; the barrier hides that from XLA.
    """
    always = lax.optimization_barrier(jnp.array(True))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(compute))
    return lax.cond(always, compute, lambda: zeros)
