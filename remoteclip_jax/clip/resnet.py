"""The image tower: CLIP's ModifiedResNet with its attention pool (Radford et al. 2021, section 2.4).

The reference implementation is `open_clip.modified_resnet`. Its module names are kept, so that converting weights needs
only a table. It differs from a plain ResNet in three ways: a stem of three 3×3 convolutions, average pooling in place
of strided convolutions, and attention pooling in place of the global mean.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from remoteclip_jax.clip.layers import Conv, Dense, Projection, average_pool
from remoteclip_jax.ops.batch_norm import BatchNorm
from remoteclip_jax.ops.cpu.products import matmul_by_head
from remoteclip_jax.ops.initializers import normal, zeros


class Downsample(nn.Module):
    """The shortcut of a block that changes the size: pooling, 1×1 convolution "0", batch norm "1" (torch's names)."""

    features: int
    stride: int
    axis_name: str | None
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], train: bool) -> Float[Array, "n h2 w2 d"]:
        x = average_pool(x, self.stride) if self.stride > 1 else x
        x = Conv(self.features, 1, dtype=self.dtype, name="0")(x)
        return BatchNorm(self.axis_name, self.dtype, name="1")(x, train)


class Bottleneck(nn.Module):
    """1×1, 3×3, pooling if `stride` > 1, and 1×1, with a shortcut; `planes` inner and 4·planes outer channels."""

    planes: int
    stride: int
    axis_name: str | None
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], train: bool) -> Float[Array, "n h2 w2 d"]:
        norm = partial(BatchNorm, self.axis_name, self.dtype)
        out = Conv(self.planes, 1, dtype=self.dtype, name="conv1")(x)
        out = nn.relu(norm(name="bn1")(out, train))
        out = Conv(self.planes, 3, dtype=self.dtype, name="conv2")(out)
        out = nn.relu(norm(name="bn2")(out, train))
        out = average_pool(out, self.stride) if self.stride > 1 else out
        out = Conv(self.planes * 4, 1, dtype=self.dtype, name="conv3")(out)
        # Zero as in open_clip: every block starts as the identity.
        out = norm(zeros, name="bn3")(out, train)
        if self.stride > 1 or x.shape[-1] != self.planes * 4:
            x = Downsample(self.planes * 4, self.stride, self.axis_name, self.dtype, name="downsample")(x, train)
        return nn.relu(out + x)


class Stage(nn.Module):
    """One of layer1 … layer4: `blocks` bottlenecks named "0", "1", …; the first one has the stride.

    With `remat` the backward pass computes what happens inside of a block again, and only its input is kept.
    """

    planes: int
    blocks: int
    stride: int
    axis_name: str | None
    dtype: Any
    remat: bool

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], train: bool) -> Float[Array, "n h2 w2 d"]:
        block = nn.remat(Bottleneck, static_argnums=(2,)) if self.remat else Bottleneck
        for i in range(self.blocks):
            x = block(self.planes, self.stride if i == 0 else 1, self.axis_name, self.dtype, name=str(i))(x, train)
        return x


class AttentionPool(nn.Module):
    """Attention pooling: the query is the mean of the map, the keys and values are the mean and the `grid`² positions.

    For a map that is not `grid`×`grid` the position embedding is resized bicubically with antialiasing, as
    `torch.nn.functional.interpolate(mode="bicubic", antialias=True, align_corners=False)` does.
    """

    grid: int
    heads: int
    embed_dim: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n d"]:
        n, h, w, c = x.shape
        init = normal(c**-0.5)
        position = self.param("positional_embedding", init, (self.grid**2 + 1, c))
        if (h, w) != (self.grid, self.grid):
            grid = position[1:].reshape(self.grid, self.grid, c)
            grid = jax.image.resize(grid, (h, w, c), "cubic", antialias=True)
            position = jnp.concatenate([position[:1], grid.reshape(h * w, c)])
        x = x.reshape(n, h * w, c)
        x = jnp.concatenate([x.mean(1, keepdims=True), x], 1) + position.astype(self.dtype)
        dense = partial(Dense, dtype=self.dtype, kernel_init=init)
        q = dense(c, name="q_proj")(x[:, 0])
        key = Projection(c, self.heads, self.dtype, init, name="k_proj")(c)
        value = Projection(c, self.heads, self.dtype, init, name="v_proj")(c)
        # There is one query and many keys. So the key matrix is applied to the query, and the value matrix to the
        # weighted sum: h·w times fewer operations. The keys' bias would shift all scores alike and is left out.
        q = jnp.einsum("nhd,chd->nhc", q.reshape(n, self.heads, -1), key.kernel) * (c // self.heads) ** -0.5
        scores = jnp.einsum("nhc,nkc->nhk", q, x)
        weights = jax.nn.softmax(scores.astype(jnp.promote_types(scores.dtype, jnp.float32))).astype(x.dtype)
        mixed = jnp.einsum("nhk,nkc->nhc", weights, x)
        out = matmul_by_head(mixed, value.kernel) + value.bias
        return dense(self.embed_dim, name="c_proj")(out.reshape(n, c))


class ModifiedResNet(nn.Module):
    """The image tower. It returns all its maps, and the embedding, for images of s×s pixels and width w:

    `stem` [n, s/4, s/4, w], `c2` [n, s/4, s/4, 4w], `c3` [n, s/8, s/8, 8w], `c4` [n, s/16, s/16, 16w],
    `c5` [n, s/32, s/32, 32w], and `embedding` [n, d], which is not normalised. `remat` is that of `Stage`. A
    `frozen_stem` does not `train`.
    """

    layers: Sequence[int]
    width: int
    heads: int
    embed_dim: int
    image_size: int
    axis_name: str | None = None
    dtype: Any = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "n s s 3"], train: bool = False, frozen_stem: bool = False) -> dict[str, Array]:
        x = x.astype(self.dtype)
        stem = ((self.width // 2, 2), (self.width // 2, 1), (self.width, 1))
        for i, (features, stride) in enumerate(stem, start=1):
            x = Conv(features, 3, stride, self.dtype, name=f"conv{i}")(x)
            x = nn.relu(BatchNorm(self.axis_name, self.dtype, name=f"bn{i}")(x, train and not frozen_stem))
        maps = {"stem": average_pool(x, 2)}
        x = maps["stem"]
        for i, blocks in enumerate(self.layers):
            planes, stride = self.width * 2**i, 1 if i == 0 else 2
            stage = Stage(planes, blocks, stride, self.axis_name, self.dtype, self.remat, name=f"layer{i + 1}")
            x = stage(x, train)
            maps[f"c{i + 2}"] = x
        grid = self.image_size // 32
        maps["embedding"] = AttentionPool(grid, self.heads, self.embed_dim, self.dtype, name="attnpool")(x)
        return maps
