"""Convolutions with 3×3 kernels as matrix products: Winograd's F(2×2, 3×3) (Lavin and Gray 2015, arXiv 1509.09308).

A tile of 2×2 outputs is 16 products of transformed inputs and kernels, Y = Aᵀ[(G k Gᵀ) ⊙ (Bᵀ d B)]A, where the
definition takes 36: each of the 16 is one matrix product over all tiles and channels. Sums of four float32 numbers are
all that it adds to rounding. Maps of odd size are padded to even.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from remoteclip_jax.ops.cpu.products import apart

Tiles = list[list[Array]]  # 4×4, by the place in a tile


def _input(a: Array, b: Array, c: Array, d: Array) -> list[Array]:
    """Bᵀ applied to the rows, or columns, of tiles."""
    return [a - c, b + c, c - b, b - d]


def _kernel(a: Array, b: Array, c: Array) -> list[Array]:
    """G."""
    return [a, (a + b + c) / 2, (a - b + c) / 2, c]


def _output(a: Array, b: Array, c: Array, d: Array) -> list[Array]:
    """Aᵀ."""
    return [a + b + c, b - c - d]


def _kernel_back(a: Array, b: Array, c: Array, d: Array) -> list[Array]:
    """Gᵀ."""
    return [a + (b + c) / 2, (b - c) / 2, (b + c) / 2 + d]


def _output_back(a: Array, b: Array) -> list[Array]:
    """A."""
    return [a, a + b, a - b, -b]


@jax.jit
def convolve(x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c d"]) -> Float[Array, "n h w d"]:
    """The convolution with stride 1, padded with one zero on every side."""
    return _convolve(x, _kernel_tiles(kernel), transposed=False)


@jax.jit
def input_gradient(g: Float[Array, "n h w d"], kernel: Float[Array, "3 3 c d"]) -> Float[Array, "n h w c"]:
    """The gradient of `convolve`'s x, given that of its result: a convolution with the kernel turned by 180° and
    transposed. A turn exchanges the first and the last of a transformed kernel's rows and columns."""
    u = [[row[3], row[1], row[2], row[0]] for row in _kernel_tiles(kernel)]
    return _convolve(g, [u[3], u[1], u[2], u[0]], transposed=True)


@jax.jit
def kernel_gradient(x: Float[Array, "n h w c"], g: Float[Array, "n h w d"]) -> Float[Array, "3 3 c d"]:
    """The gradient of `convolve`'s kernel: Gᵀ[Σ (Bᵀ d B)ᵀ (A g Aᵀ)]G over tiles."""
    if x.shape[-1] <= g.shape[-1]:  # the narrower is laid out anew
        v, m = apart(lambda: _transposed(_input_tiles(x))), _gradient_tiles(g)
        u = [[v[i][j] @ m[i][j] for j in range(4)] for i in range(4)]
    else:
        v, m = _input_tiles(x), apart(lambda: _transposed(_gradient_tiles(g)))
        u = apart(partial(_transposed, [[m[i][j] @ v[i][j] for j in range(4)] for i in range(4)]))
    columns = [_kernel_back(*row) for row in u]
    return jnp.stack([jnp.stack(_kernel_back(*(columns[i][b] for i in range(4)))) for b in range(3)], 1)


def _convolve(x: Array, u: Tiles, transposed: bool) -> Array:
    n, h, w, _ = x.shape
    v, inner = _input_tiles(x), 1 if transposed else 0
    m = [[lax.dot_general(v[i][j], u[i][j], (((1,), (inner,)), ((), ()))) for j in range(4)] for i in range(4)]
    shape = n, (h + 1) // 2, (w + 1) // 2, -1
    columns = [jnp.stack([part.reshape(shape) for part in _output(*row)], 3) for row in m]
    # In two steps: in one, XLA reads the products four times, and copies what it made of them into place.
    y = jnp.stack(_output(*lax.optimization_barrier(columns)), 2)
    return y.reshape(n, h + h % 2, w + w % 2, -1)[:, :h, :w]


def _input_tiles(x: Array) -> Tiles:
    """Bᵀ d B of every 4×4 tile d of the padded map, each [tiles, c]; tiles overlap by two."""
    h, w, c = x.shape[1:]
    padded = jnp.pad(x, ((0, 0), (1, 1 + h % 2), (1, 1 + w % 2), (0, 0)))

    def every_second(x: Array, axis: int) -> list[Array]:
        return [lax.slice_in_dim(x, i, x.shape[axis] - 3 + i, 2, axis) for i in range(4)]

    rows = _input(*every_second(padded, 1))
    return [[part.reshape(-1, c) for part in _input(*every_second(row, 2))] for row in rows]


def _gradient_tiles(g: Array) -> Tiles:
    """A g Aᵀ of every 2×2 tile of a result's gradient, each [tiles, d]."""
    h, w, d = g.shape[1:]
    even = jnp.pad(g, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)))
    rows = _output_back(even[:, ::2], even[:, 1::2])
    return [[part.reshape(-1, d) for part in _output_back(row[:, :, ::2], row[:, :, 1::2])] for row in rows]


def _transposed(tiles: Tiles) -> Tiles:
    return [[tile.T for tile in row] for row in tiles]


def _kernel_tiles(kernel: Array) -> Tiles:
    """G k Gᵀ, each [c, d]."""
    return [_kernel(row[0], row[1], row[2]) for row in _kernel(kernel[0], kernel[1], kernel[2])]
