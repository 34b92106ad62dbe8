"""Layers shared by the two towers, with PyTorch's conventions where Flax's differ; each difference is named once, here.

Activations are NHWC. `dtype` is the compute type; parameters and running statistics stay float32 whatever it is
(float64 where the caller passes float64 parameters, which is how the tests compare with PyTorch).
"""

from functools import partial, reduce
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from remoteclip_jax.ops.convolution import convolve
from remoteclip_jax.ops.cpu.products import dot_general, matmul

LayerNorm = partial(nn.LayerNorm, epsilon=1e-5)  # PyTorch's epsilon; Flax's is 1e-6
Dense = partial(nn.Dense, dot_general=dot_general)


def torch_uniform(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """PyTorch's default for convolutions (Kaiming uniform, a = √5): U(−1/√fan_in, 1/√fan_in); `shape` is HWIO."""
    fan_in = shape[0] * shape[1] * shape[2]
    return jax.random.uniform(key, shape, dtype, -(fan_in**-0.5), fan_in**-0.5)


class Conv(nn.Module):
    """k×k convolution without bias, padded with k//2 zeros on every side, as `torch.nn.Conv2d(…, padding=k // 2)`.

    A 1×1 convolution is written as the matrix product that it is: on a CPU XLA runs that far faster.
    """

    features: int
    kernel_size: int
    stride: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 d"]:
        k = self.kernel_size
        kernel = self.param("kernel", torch_uniform, (k, k, x.shape[-1], self.features))
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        if k == 1 and self.stride == 1:
            return matmul(x, kernel[0, 0])
        return convolve(x, kernel, self.stride)


def average_pool(x: Float[Array, "n h w c"], size: int) -> Float[Array, "n h2 w2 c"]:
    """Mean over `size`×`size` cells; a remainder at the right and bottom is left out, as in `torch.nn.AvgPool2d`."""
    _, h, w, _ = x.shape
    return _average_cells(x[:, : h - h % size, : w - w % size], size)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _average_cells(x: Float[Array, "n h w c"], size: int) -> Float[Array, "n h2 w2 c"]:
    # Not as a reduction, for which XLA would first write the map that is averaged here.
    return reduce(jnp.add, (x[:, i::size, j::size] for i in range(size) for j in range(size))) / size**2


def _average_forward(x: Array, size: int) -> tuple[Array, None]:
    return _average_cells(x, size), None


def _average_backward(size: int, _: None, g: Array) -> tuple[Array]:
    n, h, w, c = g.shape
    cells = jnp.broadcast_to(g[:, :, None, :, None] / size**2, (n, h, size, w, size, c))
    return (cells.reshape(n, h * size, w * size, c),)


_average_cells.defvjp(_average_forward, _average_backward)


def attend(
    q: Float[Array, "n q d"], k: Float[Array, "n k d"], v: Float[Array, "n k d"], heads: int, mask: Array | None = None
) -> Float[Array, "n q d"]:
    """Scaled dot-product attention (Vaswani et al. 2017) over `heads` heads; `mask` [q, k] is True where q may look."""
    n, _, d = q.shape
    q, k, v = (t.reshape(n, -1, heads, d // heads) for t in (q, k, v))
    scores = jnp.einsum("nqhd,nkhd->nhqk", q, k) * (d // heads) ** -0.5
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(scores.astype(jnp.promote_types(scores.dtype, jnp.float32)))
    return jnp.einsum("nhqk,nkhd->nqhd", weights.astype(v.dtype), v).reshape(n, -1, d)
