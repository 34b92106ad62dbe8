"""Scores of regions by a CLIP that was never trained to detect, for prompts that the detector was not trained on.

A detector that has learned sixteen classes says of anything else that it is none of these. The CLIP that it started
from has seen more, in captions. Its frozen image tower sees the same image; the features of a box are pooled from its
last map by RoIAlign (He et al. 2017) and go through CLIP's own attention pool, and the score of a prompt is a geometric
mean of what the detector says and of the probability of the prompt for the pooled region: F-VLM (Kuo et al. 2023).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from remoteclip_jax.clip.config import CLIPConfig
from remoteclip_jax.clip.model import CLIP, Variables
from remoteclip_jax.clip.resnet import AttentionPool
from remoteclip_jax.ops.sampling import sample
from remoteclip_jax.ops.similarity import l2_normalise

# Pixels of the image's longer side at which the frozen tower looks: it has learned from small images, and an object of
# a tenth of the image's side is seen best in the larger, one of half of it in the smaller.
SIZES = (256, 448)
GRID = 4  # samples of a region in each direction
NOVEL_WEIGHT = 0.65  # of CLIP's probability in the score of a prompt that was not trained on
FROZEN = "frozen"  # the frozen tower's place in the variables of a detector


class NovelPrompts(NamedTuple):
    """Which of k texts were not trained on, and which were `asked` for. The others are the trained classes that were
    not: they say whether there is an object at all, and compete for it. Without them, a single prompt would be right
    everywhere."""

    mask: Bool[Array, " k"] | Bool[np.ndarray, " k"]
    asked: Bool[Array, " k"] | Bool[np.ndarray, " k"]


def frozen_maps(
    clip: CLIPConfig, frozen: Variables, images: Float[Array, "n s s 3"], dtype: Any
) -> list[Float[Array, "n _h _w c"]]:
    """The last map, C5, by a frozen image tower, of normalised images at each of `SIZES`; they are not enlarged."""
    n, side = images.shape[:2]
    maps = []
    for size in sorted({min(size, side) for size in SIZES}):
        resized = jax.image.resize(images, (n, size, size, 3), "linear")  # with antialiasing
        features: Any = CLIP(clip, dtype).apply(frozen, resized, method="features")
        maps.append(jnp.asarray(features["c5"]))
    return maps


def region_embeddings(
    clip: CLIPConfig, frozen: Variables, maps: Sequence[Float[Array, "n _h _w c"]], boxes: Float[Array, "n q 4"]
) -> Float[Array, "n q e"]:
    """The unit-length embeddings of regions, given as boxes (cx, cy, w, h): the mean of those from each map."""
    return l2_normalise(jnp.stack([pooled_regions(clip, frozen, one, boxes) for one in maps]).mean(0))


def pooled_regions(
    clip: CLIPConfig, frozen: Variables, maps: Float[Array, "n h w c"], boxes: Float[Array, "n q 4"]
) -> Float[Array, "n q e"]:
    """The unit-length embeddings of regions from one map."""
    n, q, c = *boxes.shape[:2], maps.shape[-1]
    steps = (jnp.arange(GRID) + 0.5) / GRID - 0.5
    offsets = jnp.stack(jnp.meshgrid(steps, steps), -1).reshape(-1, 2)  # (x, y), row by row
    points = boxes[:, :, None, :2] + offsets * boxes[:, :, None, 2:]
    half = 0.5 / jnp.array(maps.shape[2:0:-1], points.dtype)
    points = jnp.clip(points, half, 1 - half)  # beyond the outermost centres a map goes on as it is there
    # One head, one level and one point of its own for each sample.
    points = points.reshape(n, q * GRID**2, 1, 1, 1, 2)
    samples = sample([maps[:, :, :, None]], points, jnp.ones(points.shape[:-1], maps.dtype))
    pool = AttentionPool(clip.image_size // 32, clip.vision_heads, clip.embed_dim, maps.dtype)
    cells = samples.reshape(n * q, GRID, GRID, c)
    pooled = pool.apply({"params": frozen["params"]["visual"]["attnpool"]}, cells)
    return l2_normalise(jnp.asarray(pooled)).reshape(n, q, -1)


def with_region_scores(
    logits: Float[Array, "n q k"],
    regions: Float[Array, "n q e"],
    texts: Float[Array, "k e"],
    scale: Float[Array, ""],
    novel: NovelPrompts,
) -> Float[Array, "n q k"]:
    """The detector's `logits`, with those of `novel` prompts replaced by the logits of the geometric means, and those
    of texts that were not asked for by −inf.

    What the detector says of a novel prompt is how sure it is that there is any object at all: its largest score for
    any text. `scale` multiplies the cosines of regions and texts, of which one is right (softmax). Texts whose logits
    are −inf are padding.
    """
    valid = jnp.isfinite(logits).any((0, 1))
    objectness = jax.nn.log_sigmoid(logits.max(-1, keepdims=True))
    probability = jax.nn.log_softmax(jnp.where(valid, scale * regions @ texts.T, -jnp.inf))
    mean = (1 - NOVEL_WEIGHT) * objectness + NOVEL_WEIGHT * probability
    mean = jnp.minimum(mean, -1e-6)  # a score below one
    scores = jnp.where(novel.mask & valid, mean - jnp.log(-jnp.expm1(mean)), logits)
    return jnp.where(novel.asked, scores, -jnp.inf)
