"""Batch normalisation (Ioffe and Szegedy 2015) with an explicit gradient.

JAX would differentiate the mean, the variance and the normalisation one by one. Written together they need two sums
over the map and one pass.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from remoteclip_jax.ops.initializers import Initializer, ones, zeros
from remoteclip_jax.runtime.devices import mean_over_devices

MOMENTUM = 0.1  # PyTorch's: the weight of the new statistics; Flax's momentum is one minus this
EPSILON = 1e-5
_POSITIONS = (0, 1, 2)  # all axes but the channels

Map = Float[Array, "n h w c"]
Channels = Float[Array, " c"]
Residuals = tuple[Map, Channels, Channels, Channels]  # x, scale, mean, variance


class BatchNorm(nn.Module):
    """Batch normalisation with the running statistics of `torch.nn.BatchNorm2d`.

    Flax's own module keeps the biased batch variance in its running statistics. PyTorch keeps n/(n−1) of it, and a
    training trajectory shows the difference. Under `axis_name` the statistics are those of the whole global batch.
    """

    axis_name: str | None = None
    dtype: Any = jnp.float32
    scale_init: Initializer = ones

    @nn.compact
    def __call__(self, x: Map, train: bool) -> Map:
        channels = x.shape[-1]
        scale = self.param("scale", self.scale_init, (channels,))
        bias = self.param("bias", zeros, (channels,))
        running_mean = self.variable("batch_stats", "mean", zeros, None, (channels,))
        running_var = self.variable("batch_stats", "var", ones, None, (channels,))
        x = x.astype(self.dtype)
        if not train:
            return _apply(x, scale, bias, running_mean.value, running_var.value)
        axis_name = None if self.is_initializing() else self.axis_name
        x, mean, var = normalise(x, scale, bias, axis_name)
        if not self.is_initializing():
            count = x.size // channels * (lax.axis_size(axis_name) if axis_name else 1)
            unbiased = var * (count / max(count - 1, 1))
            running_mean.value += MOMENTUM * (mean - running_mean.value)
            running_var.value += MOMENTUM * (unbiased - running_var.value)
        return x


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise(x: Map, scale: Channels, bias: Channels, axis_name: str | None) -> tuple[Map, Channels, Channels]:
    """The normalised x, in the type of x, with the mean and the biased variance it was normalised by.

    The statistics are those of the global batch where `axis_name` names pmap's axis. Only the first result passes
    gradients on to x, scale and bias.
    """
    return _forward(x, scale, bias, axis_name)[0]


@partial(jax.jit, static_argnums=3)
def _forward(
    x: Map, scale: Channels, bias: Channels, axis_name: str | None
) -> tuple[tuple[Map, Channels, Channels], Residuals]:
    mean, var = _statistics(x, axis_name)
    return (_apply(x, scale, bias, mean, var), mean, var), (x, scale, mean, var)


def _statistics(x: Map, axis_name: str | None) -> tuple[Channels, Channels]:
    """The mean and the biased variance, in one pass over x: from its differences from one of its own values, which are
    so small that little is lost when squares are subtracted (Chan et al. 1983)."""
    _, h, w, c = x.shape
    wide = _at_least_float32(x)
    middle = wide[0, h // 2, w // 2]
    difference, count = wide - middle, x.size // c
    first, second = (total / count for total in _two_sums(difference, jnp.square(difference)))
    mean, var = middle + first, jnp.maximum(second - jnp.square(first), 0)
    if axis_name is None or lax.axis_size(axis_name) == 1:
        return mean, var
    global_mean = mean_over_devices(mean, axis_name)
    return global_mean, mean_over_devices(var + jnp.square(mean - global_mean), axis_name)


@partial(jax.jit, static_argnums=0)
def _backward(
    axis_name: str | None, residuals: Residuals, gradients: tuple[Map, Channels, Channels]
) -> tuple[Map, Channels, Channels]:
    x, scale, mean, var = residuals
    g, wide, inverse = _at_least_float32(gradients[0]), _at_least_float32(x), lax.rsqrt(var + EPSILON)
    # Without the barrier XLA would share x − mean with the forward pass, and keep it in memory beside x until now.
    product, bias_gradient = _two_sums(g * (wide - lax.optimization_barrier(mean)), g)
    scale_gradient = product * inverse
    count = x.size // x.shape[-1]
    slope, shift = mean_over_devices((scale_gradient / count, bias_gradient / count), axis_name)
    slope = slope * inverse
    x_gradient = scale * inverse * (g - wide * slope + (mean * slope - shift))
    return x_gradient.astype(x.dtype), scale_gradient, bias_gradient


normalise.defvjp(_forward, _backward)


def _two_sums(a: Map, b: Map) -> tuple[Channels, Channels]:
    """The sums of both over all positions. On a GPU one reduction makes them, on a CPU two are faster."""

    def together(a: Map, b: Map) -> tuple[Channels, Channels]:
        zero = jnp.zeros((), a.dtype)
        first, second = lax.reduce((a, b), (zero, zero), lambda x, y: (x[0] + y[0], x[1] + y[1]), _POSITIONS)
        return first, second

    def one_by_one(a: Map, b: Map) -> tuple[Channels, Channels]:
        return a.sum(_POSITIONS), b.sum(_POSITIONS)

    return lax.platform_dependent(a, b, cpu=one_by_one, default=together)


@jax.jit
def _apply(x: Map, scale: Channels, bias: Channels, mean: Channels, var: Channels) -> Map:
    """x normalised by these statistics, in the type of x."""
    factor = scale * lax.rsqrt(var + EPSILON)
    return (_at_least_float32(x) * factor + (bias - mean * factor)).astype(x.dtype)


def _at_least_float32(x: Map) -> Map:
    """Statistics are never computed in bfloat16."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
