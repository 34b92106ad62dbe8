"""Bilinear sampling of feature maps at points."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def sample(values: Float[Array, "n h w m d"], points: Float[Array, "n m p 2"]) -> Float[Array, "n m p d"]:
    """Bilinear samples of each of m maps at p points (x, y) in [0, 1]; outside of the map everything is zero.

    Equal to `torch.nn.functional.grid_sample(…, padding_mode="zeros", align_corners=False)`.
    """
    n, h, w, m, d = values.shape
    flat = values.transpose(0, 3, 1, 2, 4).reshape(n, m, h * w, d)
    position = points * jnp.array([w, h], points.dtype) - 0.5
    low = jnp.floor(position)
    fraction = position - low
    low = low.astype(jnp.int32)
    out = jnp.zeros((), flat.dtype)
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        x, y = low[..., 0] + dx, low[..., 1] + dy
        weight = (fraction[..., 0] if dx else 1 - fraction[..., 0]) * (fraction[..., 1] if dy else 1 - fraction[..., 1])
        weight = jnp.where((x >= 0) & (x < w) & (y >= 0) & (y < h), weight, 0)
        index = jnp.clip(y, 0, h - 1) * w + jnp.clip(x, 0, w - 1)
        out = out + weight[..., None].astype(flat.dtype) * jnp.take_along_axis(flat, index[..., None], 2)
    return out
