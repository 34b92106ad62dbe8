"""Boxes in two forms: (cx, cy, w, h), normalised to a square image, inside the model; corners (x1, y1, x2, y2) where
areas are computed.

Everything is finite, and has finite gradients, for boxes without width or height.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

Boxes = Float[Array, "... 4"]

EPSILON = 1e-9  # smaller than the area of one pixel in an image of 30,000 pixels a side
MAX_LOG_RATIO = 4.0  # one refinement changes a side by a factor of at most e⁴ = 55


def corners(boxes: Boxes) -> Boxes:
    """(cx, cy, w, h) to (x1, y1, x2, y2)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return jnp.concatenate([centre - half, centre + half], -1)


def centres(boxes: Boxes) -> Boxes:
    """(x1, y1, x2, y2) to (cx, cy, w, h)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return jnp.concatenate([(low + high) / 2, high - low], -1)


def area(boxes: Boxes) -> Float[Array, "..."]:
    """Area of boxes given by their corners; zero where the corners are in the wrong order."""
    size = jnp.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return size[..., 0] * size[..., 1]


def iou_and_union(a: Boxes, b: Boxes) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Intersection over union, and the area of the union. `a` and `b` are corners that broadcast."""
    low, high = jnp.maximum(a[..., :2], b[..., :2]), jnp.minimum(a[..., 2:], b[..., 2:])
    intersection = area(jnp.concatenate([low, high], -1))
    union = area(a) + area(b) - intersection
    return intersection / (union + EPSILON), union


def iou(a: Boxes, b: Boxes) -> Float[Array, "..."]:
    """Intersection over union of corners that broadcast; 0 for two boxes without area."""
    return iou_and_union(a, b)[0]


def giou(a: Boxes, b: Boxes) -> Float[Array, "..."]:
    """Generalised IoU (Rezatofighi et al. 2019) of corners that broadcast, in [-1, 1]."""
    ratio, union = iou_and_union(a, b)
    low, high = jnp.minimum(a[..., :2], b[..., :2]), jnp.maximum(a[..., 2:], b[..., 2:])
    hull = area(jnp.concatenate([low, high], -1))
    return ratio - (hull - union) / (hull + EPSILON)


def pairwise(
    function: Callable[[Boxes, Boxes], Float[Array, "..."]], a: Float[Array, "... n 4"], b: Float[Array, "... m 4"]
) -> Float[Array, "... n m"]:
    """`iou` or `giou` of every box of `a` with every box of `b`."""
    return function(a[..., :, None, :], b[..., None, :, :])


def refine(boxes: Boxes, delta: Boxes) -> Boxes:
    """Boxes moved by `delta`: the centre in units of the box's own size, the size by a factor of e^delta.

    This is R-CNN's parameterisation (Girshick et al. 2014). DETR adds to the inverse sigmoid instead, where the same
    error of a small box's centre needs a different delta at every place in the image. Here the delta depends only on
    what the query sees, which matters for objects as small as a fiftieth of the image's side.
    """
    centre = boxes[..., :2] + delta[..., :2] * boxes[..., 2:]
    size = boxes[..., 2:] * jnp.exp(jnp.clip(delta[..., 2:], -MAX_LOG_RATIO, MAX_LOG_RATIO))
    return jnp.concatenate([jnp.clip(centre, 0, 1), jnp.clip(size, 1e-4, 1)], -1)


def clip_to_image(boxes: Boxes) -> Boxes:
    """Boxes (cx, cy, w, h) clipped to the image."""
    return centres(jnp.clip(corners(boxes), 0, 1))
