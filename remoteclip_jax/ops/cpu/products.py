"""Matrix products whose gradients are written so that XLA runs them fast on a CPU.

Left to itself, JAX makes the gradient of a matrix as the transpose of gᵀx. On a CPU, XLA then moves the transposition
into whatever elementwise operations made g, which from there on write their results across the rows of memory.
Derivatives are reverse-mode alone: `jax.jvp` does not go through a function with gradients of its own.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Rows from which xᵀg is faster with the narrower matrix laid out anew, on a CPU: measured on the shapes of RN50.
TALL = 1024

T = TypeVar("T")


@jax.custom_vjp
def matmul(x: Float[Array, "*b c"], kernel: Float[Array, "c d"]) -> Float[Array, "*b d"]:
    """x @ kernel."""
    return x @ kernel


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return x @ kernel, (x, kernel)


def _backward(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    # The barrier keeps XLA from fusing what made g into each of its uses: 4 % of a step.
    g = lax.optimization_barrier(g)
    return g @ kernel.T, correlation(x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1]))


matmul.defvjp(_forward, _backward)


def dot_general(x: Array, kernel: Array, dimensions: Any, precision: Any = None, **_: Any) -> Array:
    """`matmul` in the place that `flax.linen.Dense` has for `lax.dot_general`."""
    assert dimensions == (((x.ndim - 1,), (0,)), ((), ())), dimensions
    assert precision is None
    return jnp.asarray(matmul(x, kernel))


@jax.custom_vjp
def matmul_by_head(x: Float[Array, "n h c"], kernel: Float[Array, "c h d"]) -> Float[Array, "n h d"]:
    """The product of each head's x with that head's columns of the kernel."""
    return jnp.einsum("nhc,chd->nhd", x, kernel)


def _forward_by_head(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return matmul_by_head(x, kernel), (x, kernel)


def _backward_by_head(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    # With g first: its channels are then next to each other in memory, as they are in the kernel.
    return jnp.einsum("nhd,chd->nhc", g, kernel), jnp.einsum("nhd,nhc->chd", g, x)


matmul_by_head.defvjp(_forward_by_head, _backward_by_head)


@jax.jit
def correlation(x: Float[Array, "t c"], g: Float[Array, "t d"]) -> Float[Array, "c d"]:
    """xᵀg."""

    def product(x: Array, g: Array) -> Array:
        return lax.dot_general(x, g, (((0,), (0,)), ((), ())))

    def rows_against_columns(x: Array, g: Array) -> Array:
        if x.shape[1] <= g.shape[1]:
            return apart(lambda: x.T) @ g
        y = apart(lambda: g.T) @ x
        return apart(lambda: y.T)  # or XLA would make xᵀg of it again

    if len(x) < TALL:
        return product(x, g)
    return lax.platform_dependent(x, g, cpu=rows_against_columns, default=product)


def apart(make: Callable[[], T]) -> T:
    """What `make` returns, computed apart from what comes before and after it.

    XLA moves a transposition into the operations around it, past barriers too, and never into or out of a branch. This
    one is always taken, which the barrier keeps from XLA.
    """
    always = lax.optimization_barrier(jnp.array(True))
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(make))
    return lax.cond(always, make, lambda: nothing)
