"""Products and convolutions whose gradients are written so that XLA runs them fast.

Left to itself, JAX makes the gradient of a matrix as the transpose of gᵀx. On a CPU, XLA then moves the transposition
into whatever elementwise operations made g, which from there on write their results across the rows of memory.
Convolutions have their kernel's gradient as a convolution with a huge kernel, which it is slow at for large maps.
Derivatives are reverse-mode alone: `jax.jvp` does not go through a function with gradients of its own.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Positions of a map, and multiplications at one entry of the kernel, from which its gradient is faster as products on a
# CPU: measured on the shapes of RN50 and of the small tower.
LARGE, COSTLY = 4096, 5e7


@jax.custom_vjp
def matmul(x: Float[Array, "*b c"], kernel: Float[Array, "c d"]) -> Float[Array, "*b d"]:
    """x @ kernel."""
    return x @ kernel


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return x @ kernel, (x, kernel)


def _backward(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    return g @ kernel.T, _correlation(x, g)


def _correlation(x: Array, g: Array) -> Array:
    """xᵀg over all positions. The barrier keeps XLA from fusing what made g into each of its uses: 4 % of a step."""
    g = lax.optimization_barrier(g)
    return lax.dot_general(x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1]), (((0,), (0,)), ((), ())))


matmul.defvjp(_forward, _backward)


def dot_general(x: Array, kernel: Array, dimensions: Any, precision: Any = None, **_: Any) -> Array:
    """`matmul` in the place that `flax.linen.Dense` has for `lax.dot_general`."""
    assert dimensions == (((x.ndim - 1,), (0,)), ((), ())), dimensions
    assert precision is None
    return jnp.asarray(matmul(x, kernel))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: Float[Array, "n h w c"], kernel: Float[Array, "k k c d"], stride: int) -> Float[Array, "n h2 w2 d"]:
    """Convolution with a square kernel of odd size k, padded with k // 2 zeros on every side."""
    return _convolve(x, kernel, stride)


def _convolve(x: Array, kernel: Array, stride: int) -> Array:
    padding = [(len(kernel) // 2, len(kernel) // 2)] * 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _convolve_forward(x: Array, kernel: Array, stride: int) -> tuple[Array, tuple[Array, Array]]:
    return _convolve(x, kernel, stride), (x, kernel)


def _convolve_backward(stride: int, saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = saved

    def as_convolution(x: Array, g: Array) -> Array:
        return jax.vjp(lambda kernel: _convolve(x, kernel, stride), kernel)[1](g)[0]

    (dx,) = jax.vjp(lambda x: _convolve(x, kernel, stride), x)[1](g)
    positions = g.size // g.shape[-1]
    if stride > 1 or positions < LARGE or g.size * x.shape[-1] < COSTLY:
        return dx, as_convolution(x, g)
    return dx, lax.platform_dependent(x, g, cpu=partial(_shifted, len(kernel)), default=as_convolution)


def _shifted(k: int, x: Array, g: Array) -> Array:
    """The gradient of a k×k kernel, each of its entries a product of g with the map shifted by so much."""
    _, h, w, c = x.shape
    padded = jnp.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    parts = [_correlation(padded[:, i : i + h, j : j + w], g) for i in range(k) for j in range(k)]
    return jnp.stack(parts).reshape(k, k, c, -1)


convolve.defvjp(_convolve_forward, _convolve_backward)
