"""The ground truth for detections: the annotation as its file has it, in the file's own pixels."""

import numpy as np
from jaxtyping import Bool, Float64

from remoteclip_jax.data.types import Annotations, Example
from remoteclip_jax.detector.detections import Detections


def annotation(example: Example) -> Annotations:
    """The annotation in the file of `example`.

    If the reader did not keep it, it is made from the example's objects, with the ignored ones as difficult. Its
    `image_id` is then the name of the image file.
    """
    if example.annotations is not None:
        return example.annotations
    normalised = np.concatenate([example.boxes, example.ignored]).astype(np.float64)
    centres, sides = (x * [example.width, example.height] for x in (normalised[:, :2], normalised[:, 2:]))
    # Thousandths of a pixel undo the rounding of the stored float32, which could move a box of exactly 32² pixels to
    # the next range of areas.
    boxes = np.concatenate([centres - sides / 2, sides], 1).round(3)
    ignored = np.arange(len(boxes)) >= len(example.boxes)
    labels = np.concatenate([example.labels, example.ignored_labels]).astype(np.int32)
    areas = boxes[:, 2] * boxes[:, 3]
    return Annotations(
        example.image.name, example.width, example.height, boxes, areas, labels, np.zeros_like(ignored), ignored
    )


def ignored_mask(annotated: Annotations) -> Bool[np.ndarray, " a"]:
    """True for annotations that count neither for nor against a detector: crowds and difficult objects."""
    return annotated.crowd | annotated.difficult


def valid_mask(found: Detections) -> Bool[np.ndarray, " n"]:
    """True for detections that can be measured: they are finite, and their corners are in order."""
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    return np.asarray(np.isfinite(found.boxes).all(1) & np.isfinite(found.scores) & (sides >= 0).all(1))


def annotated_boxes(example: Example, annotated: Annotations, found: Detections) -> Float64[np.ndarray, "n 4"]:
    """The boxes of `found` as (x, y, width, height), converted from pixels of the image to pixels of `annotated`."""
    scale = np.array([annotated.width / example.width, annotated.height / example.height] * 2)
    corners = found.boxes.astype(np.float64) * scale
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)


def overlaps(boxes: Float64[np.ndarray, "n 4"], annotated: Annotations) -> Float64[np.ndarray, "n a"]:
    """The IoU of boxes (x, y, width, height) and all annotations.

    For a crowd it is the share of the box that lies in the crowd, which is COCO's rule.
    """
    first, second = boxes[:, None], annotated.boxes[None]
    with np.errstate(invalid="ignore"):  # boxes that are not finite overlap nothing
        starts = np.maximum(first[..., :2], second[..., :2])
        ends = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
        shared = np.clip(ends - starts, 0, None).prod(-1)
        own, other = first[..., 2:].prod(-1), second[..., 2:].prod(-1)
        whole = np.where(annotated.crowd, own, own + other - shared)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
