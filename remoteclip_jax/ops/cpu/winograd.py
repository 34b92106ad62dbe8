"""Convolutions with 3×3 kernels as matrix products: Winograd's F(2×2, 3×3) (Lavin and Gray 2015, arXiv 1509.09308).

A tile of 2×2 outputs takes 16 products of transformed inputs and kernels, Y = Aᵀ[(G k Gᵀ) ⊙ (Bᵀ d B)]A, instead of the
definition's 36. Each of the 16 is one matrix product over all tiles and channels. The transforms add only sums of four
float32 numbers to the rounding error. Maps of odd size are padded to an even size.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from remoteclip_jax.ops.cpu.products import fusion_barrier

Map = Float[Array, "n h w c"]
Output = Float[Array, "n h w d"]
Kernel = Float[Array, "3 3 c d"]
Part = Float[Array, "..."]  # rows or columns of tiles, or of kernels
Tiles = list[list[Float[Array, "_ _"]]]  # 4×4, by the position in a tile


def _input(a: Part, b: Part, c: Part, d: Part) -> list[Part]:
    """Bᵀ applied to the rows or columns of tiles."""
    return [a - c, b + c, c - b, b - d]


def _kernel(a: Part, b: Part, c: Part) -> list[Part]:
    """G applied to the rows or columns of kernels."""
    return [a, (a + b + c) / 2, (a - b + c) / 2, c]


def _output(a: Part, b: Part, c: Part, d: Part) -> list[Part]:
    """Aᵀ applied to the rows or columns of products."""
    return [a + b + c, b - c - d]


def _kernel_transposed(a: Part, b: Part, c: Part, d: Part) -> list[Part]:
    """Gᵀ, for the kernel's gradient."""
    return [a + (b + c) / 2, (b - c) / 2, (b + c) / 2 + d]


def _output_transposed(a: Part, b: Part) -> list[Part]:
    """A, for the kernel's gradient."""
    return [a, a + b, a - b, -b]


@jax.jit
def convolve(x: Map, kernel: Kernel) -> Output:
    """Convolution with stride 1, padded with one zero on every side."""
    return _convolve(x, _kernel_tiles(kernel), transposed=False)


@jax.jit
def input_gradient(g: Output, kernel: Kernel) -> Map:
    """The gradient of the loss by `convolve`'s x, given its gradient `g` by the result.

    It is a convolution with the kernel rotated by 180° and with its channels transposed. The rotation exchanges the
    first and the last of a transformed kernel's rows and columns.
    """
    u = [[row[3], row[1], row[2], row[0]] for row in _kernel_tiles(kernel)]
    return _convolve(g, [u[3], u[1], u[2], u[0]], transposed=True)


@jax.jit
def kernel_gradient(x: Map, g: Output) -> Kernel:
    """The gradient of the loss by `convolve`'s kernel: Gᵀ[Σ (Bᵀ d B)ᵀ (A g Aᵀ)]G over tiles."""
    if x.shape[-1] <= g.shape[-1]:  # the narrower of the two is transposed
        v, m = fusion_barrier(lambda: _transposed(_input_tiles(x))), _gradient_tiles(g)
        u = [[v[i][j] @ m[i][j] for j in range(4)] for i in range(4)]
    else:
        v, m = _input_tiles(x), fusion_barrier(lambda: _transposed(_gradient_tiles(g)))
        u = fusion_barrier(partial(_transposed, [[m[i][j] @ v[i][j] for j in range(4)] for i in range(4)]))
    columns = [_kernel_transposed(*row) for row in u]
    return jnp.stack([jnp.stack(_kernel_transposed(*(columns[i][b] for i in range(4)))) for b in range(3)], 1)


def _convolve(x: Map, u: Tiles, transposed: bool) -> Output:
    """The convolution with the transformed kernels `u`: each [c, d], or [d, c] where `transposed`."""
    n, h, w, _ = x.shape
    v, inner = _input_tiles(x), 1 if transposed else 0
    m = [[lax.dot_general(v[i][j], u[i][j], (((1,), (inner,)), ((), ()))) for j in range(4)] for i in range(4)]
    shape = n, (h + 1) // 2, (w + 1) // 2, -1
    columns = [jnp.stack([part.reshape(shape) for part in _output(*row)], 3) for row in m]
    # The barrier makes two steps of it. In one step XLA would read the products four times and copy the results.
    y = jnp.stack(_output(*lax.optimization_barrier(columns)), 2)
    return y.reshape(n, h + h % 2, w + w % 2, -1)[:, :h, :w]


def _input_tiles(x: Map) -> Tiles:
    """Bᵀ d B of every 4×4 tile d of the padded map, each [tiles, c]; tiles overlap by two."""
    h, w, c = x.shape[1:]
    padded = jnp.pad(x, ((0, 0), (1, 1 + h % 2), (1, 1 + w % 2), (0, 0)))

    def every_second(x: Float[Array, "n _h _w c"], axis: int) -> list[Float[Array, "n _h2 _w2 c"]]:
        return [lax.slice_in_dim(x, i, x.shape[axis] - 3 + i, 2, axis) for i in range(4)]

    rows = _input(*every_second(padded, 1))
    return [[part.reshape(-1, c) for part in _input(*every_second(row, 2))] for row in rows]


def _gradient_tiles(g: Output) -> Tiles:
    """A g Aᵀ of every 2×2 tile of a result's gradient, each [tiles, d]."""
    h, w, d = g.shape[1:]
    even = jnp.pad(g, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)))
    rows = _output_transposed(even[:, ::2], even[:, 1::2])
    return [[part.reshape(-1, d) for part in _output_transposed(row[:, :, ::2], row[:, :, 1::2])] for row in rows]


def _transposed(tiles: Tiles) -> Tiles:
    return [[tile.T for tile in row] for row in tiles]


def _kernel_tiles(kernel: Kernel) -> Tiles:
    """G k Gᵀ, each [c, d]."""
    return [_kernel(row[0], row[1], row[2]) for row in _kernel(kernel[0], kernel[1], kernel[2])]
