"""From the last layer's predictions to detections: sigmoid, top-k over queries and classes, per-class suppression.

Where images are looked at in several views, each view answers for objects of its own sizes.
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
from remoteclip_jax.detector.detections import MAX_DETECTIONS, Detections
from remoteclip_jax.detector.model import Detector, Predictions
from remoteclip_jax.ops.boxes import corners
from remoteclip_jax.ops.suppression import keep_best

SAME_OBJECT = 0.5  # IoU above which the weaker of two detections of one class goes


class Found(NamedTuple):
    """Detections of a batch, best first: corners in [0, 1] of the square input; `kept` is False where there is none."""

    boxes: Float[Array, "n d 4"]
    scores: Float[Array, "n d"]
    labels: Int[Array, "n d"]
    kept: Bool[Array, "n d"]


def find_objects(
    model: Detector,
    variables: Variables,
    views: Sequence[UInt8[Array, "n _ _ 3"]],
    texts: Float[Array, "k e"],
    known: Bool[Array, "k"] | None = None,
    count: int = MAX_DETECTIONS,
) -> Found:
    """The `count` best detections in images that are given whole in several sizes, ascending; `known` as for
    `Detector`, which gets at least as many queries."""
    model = model.clone(config=model.config.replace(predict_queries=max(model.config.predict_queries, count)))
    parts = []
    for images, (low, high) in zip(views, size_ranges(tuple(view.shape[1] for view in views)), strict=True):
        outputs: Any = model.apply(variables, normalise(jnp.asarray(images)), texts, known)
        logits, boxes, hidden = outputs.layers[-1]
        size = jnp.sqrt(boxes[..., 2:].prod(-1, keepdims=True))
        own = (low <= size) & (size < high)
        parts.append(Predictions(jnp.where(own, logits, -jnp.inf), boxes, hidden))
    return postprocess(Predictions(*(jnp.concatenate(arrays, 1) for arrays in zip(*parts, strict=True))), count)


def postprocess(predictions: Predictions, count: int = MAX_DETECTIONS) -> Found:
    """The `count` best pairs of query and class, less those that repeat a better one. Scores are sigmoid(logits)."""
    n, q, k = predictions.logits.shape
    scores, index = jax.lax.top_k(jax.nn.sigmoid(predictions.logits).reshape(n, q * k), min(3 * count, q * k))
    boxes = corners(jnp.take_along_axis(predictions.boxes, (index // k)[..., None], 1))
    labels = index % k
    keep = keep_best(boxes, scores, SAME_OBJECT, labels) & (scores > 0)
    # Those kept move to the front, in their order.
    order = jnp.argsort(~keep, -1, stable=True)[:, :count]
    boxes = jnp.clip(jnp.take_along_axis(boxes, order[..., None], 1), 0, 1)
    return Found(boxes, *(jnp.take_along_axis(x, order, 1) for x in (scores, labels, keep)))


def to_detections(found: Found, i: int, width: int, height: int, classes: Sequence[str]) -> Detections:
    """Row `i` of a batch, in pixels of its image of `width` x `height`."""
    boxes, scores, labels, kept = (x[i] for x in jax.device_get(found))
    return Detections(
        square_to_pixels(boxes[kept], width, height),
        scores[kept].astype(np.float32),
        labels[kept].astype(np.int32),
        tuple(classes),
    )
