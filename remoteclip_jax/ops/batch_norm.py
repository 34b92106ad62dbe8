"""Batch normalisation (Ioffe and Szegedy 2015), with its gradient written out.

JAX would differentiate the mean, the variance and the normalisation one by one; together they are two sums over the
map and one pass.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from remoteclip_jax.runtime.devices import mean_over_devices

MOMENTUM = 0.1  # PyTorch's: the weight of the new statistics; Flax's momentum is one minus this
EPSILON = 1e-5
_POSITIONS = (0, 1, 2)  # all axes but the channels

Saved = tuple[Float[Array, "n h w c"], Float[Array, " c"], Float[Array, " c"], Float[Array, " c"]]


class BatchNorm(nn.Module):
    """Batch normalisation with the running statistics of `torch.nn.BatchNorm2d`.

    Flax's own module keeps the biased batch variance in its running statistics; PyTorch keeps n/(n−1) of it, and a
    training trajectory shows the difference. Under `axis_name` the statistics are those of the whole global batch.
    """

    axis_name: str | None = None
    dtype: Any = jnp.float32
    scale_init: nn.initializers.Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], train: bool) -> Float[Array, "n h w c"]:
        channels = x.shape[-1]
        scale = self.param("scale", self.scale_init, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,))
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
def normalise(
    x: Float[Array, "n h w c"], scale: Float[Array, " c"], bias: Float[Array, " c"], axis_name: str | None
) -> tuple[Float[Array, "n h w c"], Float[Array, " c"], Float[Array, " c"]]:
    """x normalised, of its own type, and the mean and biased variance that it was normalised by, over the whole batch
    where `axis_name` names pmap's axis. Gradients flow to x, scale and bias by way of the first alone."""
    return _forward(x, scale, bias, axis_name)[0]


@partial(jax.jit, static_argnums=3)
def _forward(x: Array, scale: Array, bias: Array, axis_name: str | None) -> tuple[tuple[Array, Array, Array], Saved]:
    wide = _wide(x)
    mean = mean_over_devices(wide.mean(_POSITIONS), axis_name)
    var = mean_over_devices(jnp.square(wide - mean).mean(_POSITIONS), axis_name)
    return (_apply(x, scale, bias, mean, var), mean, var), (x, scale, mean, var)


@partial(jax.jit, static_argnums=0)
def _backward(axis_name: str | None, saved: Saved, gradients: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    x, scale, mean, var = saved
    g, wide, inverse = _wide(gradients[0]), _wide(x), lax.rsqrt(var + EPSILON)
    # The barrier tells this x − mean from the forward pass's, which XLA would otherwise keep until now, beside x.
    of_scale = (g * (wide - lax.optimization_barrier(mean))).sum(_POSITIONS) * inverse
    of_bias = g.sum(_POSITIONS)
    count = x.size // x.shape[-1]
    along, shift = mean_over_devices((of_scale / count, of_bias / count), axis_name)
    along = along * inverse
    of_x = scale * inverse * (g - wide * along + (mean * along - shift))
    return of_x.astype(x.dtype), of_scale, of_bias


normalise.defvjp(_forward, _backward)


@jax.jit
def _apply(
    x: Float[Array, "n h w c"],
    scale: Float[Array, " c"],
    bias: Float[Array, " c"],
    mean: Float[Array, " c"],
    var: Float[Array, " c"],
) -> Float[Array, "n h w c"]:
    """x normalised by these statistics, of its own type."""
    factor = scale * lax.rsqrt(var + EPSILON)
    return (_wide(x) * factor + (bias - mean * factor)).astype(x.dtype)


def _wide(x: Array) -> Array:
    """Statistics are never of bfloat16."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
