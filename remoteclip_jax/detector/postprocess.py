"""Detections from the last layer's predictions: sigmoid, top-k over queries and classes, per-class suppression.

If images are predicted in several views, each view contributes the objects of its own range of sizes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from remoteclip_jax.clip.model import Variables
from remoteclip_jax.clip.preprocess import normalise
from remoteclip_jax.data.views import size_ranges
from remoteclip_jax.data.windows import square_to_pixels
from remoteclip_jax.detector.detections import MAX_DETECTIONS, SAME_OBJECT, Detections
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.detector.regions import FROZEN, NovelPrompts, frozen_maps, region_embeddings, with_region_scores
from remoteclip_jax.ops.boxes import corners
from remoteclip_jax.ops.suppression import nms_mask


class BatchDetections(NamedTuple):
    """The detections of a batch, best first: corners in [0, 1] of the square input; `valid` is False for padding."""

    boxes: Float[Array, "n d 4"]
    scores: Float[Array, "n d"]
    labels: Int[Array, "n d"]
    valid: Bool[Array, "n d"]


def find_objects(
    model: Detector,
    variables: Variables,
    views: Sequence[UInt8[Array, "n _ _ 3"]],
    texts: Float[Array, "k e"],
    valid: Bool[Array, " k"] | None = None,
    count: int = MAX_DETECTIONS,
    novel: NovelPrompts | None = None,
) -> BatchDetections:
    """The `count` best detections in whole images.

    `views` are the same images in several sizes, ascending. `valid` is False for padded prompts, as for `Detector`. The
    detector uses at least `count` queries. `novel` are the prompts that it was not trained on: if the variables have
    a frozen image tower, their scores come from this tower, too (see `regions`).
    """
    variables, frozen = {k: v for k, v in variables.items() if k != FROZEN}, variables.get(FROZEN)
    model = model.clone(config=model.config.replace(predict_queries=max(model.config.predict_queries, count)))
    logits, boxes = [], []
    maps: list[Array] = []
    ranges = size_ranges(tuple(view.shape[1] for view in views))
    for images, (low, high) in zip(views, ranges, strict=True):
        outputs: Any = model.apply(variables, normalise(jnp.asarray(images)), texts, valid)
        last = outputs.layer(-1)
        view_logits = last.logits
        if frozen is not None and novel is not None:
            maps = maps or frozen_maps(model.clip, frozen, normalise(jnp.asarray(views[-1])), model.dtype)
            regions = region_embeddings(model.clip, frozen, maps, last.boxes)
            scale = jnp.exp(frozen["params"]["logit_scale"])
            view_logits = with_region_scores(view_logits, regions, texts, scale, novel)
        size = jnp.sqrt(last.boxes[..., 2:].prod(-1, keepdims=True))
        logits.append(jnp.where((low <= size) & (size < high), view_logits, -jnp.inf))
        boxes.append(last.boxes)
    return postprocess(jnp.concatenate(logits, 1), jnp.concatenate(boxes, 1), count)


def postprocess(
    logits: Float[Array, "n q k"], boxes: Float[Array, "n q 4"], count: int = MAX_DETECTIONS
) -> BatchDetections:
    """The `count` best pairs of query and class, after non-maximum suppression. Scores are sigmoid(logits)."""
    n, q, k = logits.shape
    scores, index = jax.lax.top_k(jax.nn.sigmoid(logits).reshape(n, q * k), min(3 * count, q * k))
    boxes = corners(jnp.take_along_axis(boxes, (index // k)[..., None], 1))
    labels = index % k
    keep = nms_mask(boxes, scores, SAME_OBJECT, labels) & (scores > 0)
    # Detections that are kept come first, in their order.
    order = jnp.argsort(~keep, -1, stable=True)[:, :count]
    boxes = jnp.clip(jnp.take_along_axis(boxes, order[..., None], 1), 0, 1)
    return BatchDetections(boxes, *(jnp.take_along_axis(x, order, 1) for x in (scores, labels, keep)))


def to_detections(found: BatchDetections, i: int, width: int, height: int, classes: Sequence[str]) -> Detections:
    """The detections in image `i` of a batch, in pixels of that image, which has `width` × `height` of them."""
    boxes, scores, labels, valid = (x[i] for x in jax.device_get(found))
    return Detections(
        square_to_pixels(boxes[valid], width, height),
        scores[valid].astype(np.float32),
        labels[valid].astype(np.int32),
        tuple(classes),
    )
