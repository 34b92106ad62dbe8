"""Convolution, with each of its three parts made the way that is fastest on the device at hand."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from remoteclip_jax.ops.cpu import winograd
from remoteclip_jax.ops.cpu.products import apart

# Multiplications from which 3×3 convolutions are faster by tiles, on a CPU: measured on the shapes of RN50, for batches
# of 1, 2, 4 and 8, and in a training step of the small tower.
COSTLY = 2e8


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: Float[Array, "n h w c"], kernel: Float[Array, "k k c d"], stride: int) -> Float[Array, "n h2 w2 d"]:
    """Convolution with a square kernel of odd size k, padded with k // 2 zeros on every side."""
    if _by_tiles(x, kernel, stride):
        return lax.platform_dependent(x, kernel, cpu=winograd.convolve, default=partial(_convolve, 1))
    return _convolve(stride, x, kernel)


def _forward(x: Array, kernel: Array, stride: int) -> tuple[Array, tuple[Array, Array]]:
    return convolve(x, kernel, stride), (x, kernel)


def _backward(stride: int, saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = saved

    def input_gradient(g: Array, kernel: Array) -> Array:
        return jax.vjp(lambda x: _convolve(stride, x, kernel), x)[1](g)[0]

    def kernel_gradient(x: Array, g: Array) -> Array:
        return jax.vjp(lambda kernel: _convolve(stride, x, kernel), kernel)[1](g)[0]

    if _by_tiles(x, kernel, stride):
        # Or what made g would be computed again in each of its 32 tiles.
        g = lax.platform_dependent(g, cpu=lambda g: apart(lambda: g), default=lambda g: g)
        dx = lax.platform_dependent(g, kernel, cpu=winograd.input_gradient, default=input_gradient)
        dk = lax.platform_dependent(x, g, cpu=winograd.kernel_gradient, default=kernel_gradient)
        return dx, dk
    return input_gradient(g, kernel), kernel_gradient(x, g)


convolve.defvjp(_forward, _backward)


def _convolve(stride: int, x: Array, kernel: Array) -> Array:
    padding = [(len(kernel) // 2, len(kernel) // 2)] * 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _by_tiles(x: Array, kernel: Array, stride: int) -> bool:
    cost = x.size // x.shape[-1] * kernel.size
    return len(kernel) == 3 and stride == 1 and x.dtype in (jnp.float32, jnp.float64) and cost >= COSTLY
