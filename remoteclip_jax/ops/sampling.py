"""Bilinear sampling of feature maps at weighted points, over several levels at once."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def sample(
    maps: Sequence[Float[Array, "n _h _w m d"]],
    points: Float[Array, "n q m l p 2"],
    weights: Float[Array, "n q m l p"],
) -> Float[Array, "n q m d"]:
    """For every query and every one of m heads the weighted sum of bilinear samples of its maps, one for each of l
    levels, at p points (x, y) in [0, 1]. Outside of a map everything is zero.

    Equal to sums of `torch.nn.functional.grid_sample(…, padding_mode="zeros", align_corners=False)`.
    """
    n, q, m, _, _, _ = points.shape
    d = maps[0].shape[-1]
    sizes = np.array([x.shape[1:3] for x in maps])  # (h, w)
    starts = np.cumsum([0, *sizes.prod(-1)])
    table = jnp.concatenate([x.reshape(n, -1, m, d) for x in maps], 1).reshape(-1, d)
    position = points * sizes[:, None, ::-1].astype(points.dtype) - 0.5
    low = jnp.floor(position)
    fraction = position - low
    dy, dx = np.array(list(itertools.product((0, 1), repeat=2))).T  # the four neighbours
    x, y = (low[..., axis, None].astype(jnp.int32) + step for axis, step in ((0, dx), (1, dy)))
    share_x, share_y = (
        jnp.where(step == 1, fraction[..., axis, None], 1 - fraction[..., axis, None])
        for axis, step in ((0, dx), (1, dy))
    )
    h, w = sizes.T[..., None, None]
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    share = jnp.where(inside, share_x * share_y, 0) * weights[..., None]
    cell = starts[:-1, None, None] + jnp.clip(y, 0, h - 1) * w + jnp.clip(x, 0, w - 1)
    image, head = np.arange(n)[:, None, None, None, None, None], np.arange(m)[:, None, None, None]
    rows = (image * starts[-1] + cell) * m + head
    flat = n * q * m, -1
    return _sum_of_rows(table, rows.reshape(flat), share.reshape(flat)).reshape(n, q, m, d)


Table = Float[Array, "r d"]
Residuals = tuple[Table, Int[Array, "b s"], Float[Array, "b s"]]  # table, rows, weights


@jax.custom_vjp
def _sum_of_rows(table: Table, rows: Int[Array, "b s"], weights: Float[Array, "b s"]) -> Float[Array, "b d"]:
    """Weighted sums of s rows of the table each, in the table's type.

    The gradient of the table is added up in float32 at least: rows are hit many times, and GPUs add float32 in memory.
    """
    return _contract(_rows(table, rows), weights, axis=1)


def _forward(
    table: Table, rows: Int[Array, "b s"], weights: Float[Array, "b s"]
) -> tuple[Float[Array, "b d"], Residuals]:
    return _sum_of_rows(table, rows, weights), (table, rows, weights)


def _backward(residuals: Residuals, g: Float[Array, "b d"]) -> tuple[Table, None, Float[Array, "b s"]]:
    table, rows, weights = residuals
    terms = weights[..., None] * g[:, None].astype(weights.dtype)
    of_table = jnp.zeros(table.shape, weights.dtype).at[rows].add(terms, mode="promise_in_bounds")
    return of_table.astype(table.dtype), None, _contract(_rows(table, rows), g, axis=2).astype(weights.dtype)


_sum_of_rows.defvjp(_forward, _backward)


def _rows(table: Table, rows: Int[Array, "b s"]) -> Float[Array, "b s d"]:
    return table.at[rows].get(mode="promise_in_bounds")


def _contract(values: Float[Array, "b s d"], factors: Float[Array, "b _"], axis: int) -> Float[Array, "b _"]:
    """The sum over `axis` of values times factors, in the type of values: as a product of matrices, or, where that
    would first write the gathered values to memory, as a sum that is fused with gathering them."""

    def fused(values: Float[Array, "b s d"], factors: Float[Array, "b _"]) -> Float[Array, "b _"]:
        wide = jnp.promote_types(values.dtype, jnp.float32)
        return (values * jnp.expand_dims(factors, 3 - axis).astype(wide)).sum(axis).astype(values.dtype)

    def product(values: Float[Array, "b s d"], factors: Float[Array, "b _"]) -> Float[Array, "b _"]:
        subscripts = "bsd,bs->bd" if axis == 1 else "bsd,bd->bs"
        return jnp.einsum(subscripts, values, factors.astype(values.dtype))

    return jax.lax.platform_dependent(values, factors, cpu=product, default=fused)
