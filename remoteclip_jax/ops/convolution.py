"""Convolution; its value and both gradients each use the method that is fastest on the device at hand."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from remoteclip_jax.ops.cpu import winograd
from remoteclip_jax.ops.cpu.products import fusion_barrier

# Multiplications from which Winograd's tiles are faster for 3×3 convolutions on a CPU. Measured on the shapes of RN50
# for batches of 1, 2, 4 and 8, and in a training step of the small tower.
WINOGRAD_COST = 2e8

Map = Float[Array, "n h w c"]
Output = Float[Array, "n h2 w2 d"]
Kernel = Float[Array, "k k c d"]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: Map, kernel: Kernel, stride: int) -> Output:
    """Convolution with a square kernel of odd size k, padded with k // 2 zeros on every side."""
    if _use_winograd(x, kernel, stride):
        return lax.platform_dependent(x, kernel, cpu=winograd.convolve, default=partial(_convolve, 1))
    return _convolve(stride, x, kernel)


def _forward(x: Map, kernel: Kernel, stride: int) -> tuple[Output, tuple[Map, Kernel]]:
    return convolve(x, kernel, stride), (x, kernel)


def _backward(stride: int, residuals: tuple[Map, Kernel], g: Output) -> tuple[Map, Kernel]:
    x, kernel = residuals

    def input_gradient(g: Output, kernel: Kernel) -> Map:
        return jax.vjp(lambda x: _convolve(stride, x, kernel), x)[1](g)[0]

    def kernel_gradient(x: Map, g: Output) -> Kernel:
        return jax.vjp(lambda kernel: _convolve(stride, x, kernel), kernel)[1](g)[0]

    if _use_winograd(x, kernel, stride):
        # Without the barrier XLA would repeat whatever computed g for each of the 32 products that read it.
        g = lax.platform_dependent(g, cpu=lambda g: fusion_barrier(lambda: g), default=lambda g: g)
        dx = lax.platform_dependent(g, kernel, cpu=winograd.input_gradient, default=input_gradient)
        dk = lax.platform_dependent(x, g, cpu=winograd.kernel_gradient, default=kernel_gradient)
        return dx, dk
    return input_gradient(g, kernel), kernel_gradient(x, g)


convolve.defvjp(_forward, _backward)


def _convolve(stride: int, x: Map, kernel: Kernel) -> Output:
    padding = [(len(kernel) // 2, len(kernel) // 2)] * 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _use_winograd(x: Map, kernel: Kernel, stride: int) -> bool:
    cost = x.size // x.shape[-1] * kernel.size
    return len(kernel) == 3 and stride == 1 and x.dtype in (jnp.float32, jnp.float64) and cost >= WINOGRAD_COST
