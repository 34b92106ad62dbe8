"""Layers of both towers and of the detector. They follow PyTorch where Flax differs; every difference is noted here.

Activations are NHWC. `dtype` is the compute type. Parameters and running statistics are float32 whatever it is (or
float64 if the caller passes float64 parameters, which is how the tests compare with PyTorch).
"""

from functools import partial, reduce
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from remoteclip_jax.ops.convolution import convolve
from remoteclip_jax.ops.cpu.products import dot_general, matmul
from remoteclip_jax.ops.initializers import Initializer, lecun_normal, ones, torch_uniform, zeros

# PyTorch's epsilon; Flax's is 1e-6.
LayerNorm = partial(nn.LayerNorm, epsilon=1e-5, scale_init=ones, bias_init=zeros)
Dense = partial(nn.Dense, dot_general=dot_general, kernel_init=lecun_normal, bias_init=zeros)


class HeadProjection(NamedTuple):
    """The weights of a dense layer from c channels to h heads of d channels."""

    kernel: Float[Array, "c h d"]
    bias: Float[Array, "h d"]


class Projection(nn.Module):
    """The parameters of a dense layer, split into attention heads; the product is left to the caller."""

    features: int
    heads: int
    dtype: Any
    kernel_init: Initializer

    @nn.compact
    def __call__(self, inputs: int) -> HeadProjection:
        kernel = self.param("kernel", self.kernel_init, (inputs, self.features)).astype(self.dtype)
        bias = self.param("bias", zeros, (self.features,)).astype(self.dtype)
        return HeadProjection(kernel.reshape(inputs, self.heads, -1), bias.reshape(self.heads, -1))


class Conv(nn.Module):
    """k×k convolution without bias, padded with k//2 zeros on every side, as `torch.nn.Conv2d(…, padding=k // 2)`.

    A 1×1 convolution is computed as a matrix product, which XLA runs far faster on a CPU.
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
    """Mean over `size`×`size` cells. A remainder at the right or the bottom is dropped, as in `torch.nn.AvgPool2d`."""
    _, h, w, _ = x.shape
    return _average_cells(x[:, : h - h % size, : w - w % size], size)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _average_cells(x: Float[Array, "n h w c"], size: int) -> Float[Array, "n h2 w2 c"]:
    # A sum of slices, not a reduction: for a reduction XLA would first write its input to memory.
    return reduce(jnp.add, (x[:, i::size, j::size] for i in range(size) for j in range(size))) / size**2


def _average_forward(x: Float[Array, "n h w c"], size: int) -> tuple[Float[Array, "n h2 w2 c"], None]:
    return _average_cells(x, size), None


def _average_backward(size: int, _: None, g: Float[Array, "n h2 w2 c"]) -> tuple[Float[Array, "n h w c"]]:
    n, h, w, c = g.shape
    cells = jnp.broadcast_to(g[:, :, None, :, None] / size**2, (n, h, size, w, size, c))
    return (cells.reshape(n, h * size, w * size, c),)


_average_cells.defvjp(_average_forward, _average_backward)


def multi_head_attention(
    q: Float[Array, "n q d"],
    k: Float[Array, "n k d"],
    v: Float[Array, "n k d"],
    heads: int,
    mask: Bool[Array, "..."] | None = None,
) -> Float[Array, "n q d"]:
    """Scaled dot-product attention (Vaswani et al. 2017) with `heads` heads.

    `mask` broadcasts to [n, heads, q, k]; it is True where a query may attend to a key.
    """
    # Not `jax.nn.dot_product_attention`: on a CPU its results and gradients differ from these in the last bits
    # (outputs by 3e-7 in float32), and runs would not repeat.
    n, _, d = q.shape
    q, k, v = (t.reshape(n, -1, heads, d // heads) for t in (q, k, v))
    scores = jnp.einsum("nqhd,nkhd->nhqk", q, k) * (d // heads) ** -0.5
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(scores.astype(jnp.promote_types(scores.dtype, jnp.float32)))
    return jnp.einsum("nhqk,nkhd->nqhd", weights.astype(v.dtype), v).reshape(n, -1, d)
