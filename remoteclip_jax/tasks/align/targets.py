"""The targets of `align`: distributions over the classes of the objects in an image."""

import dataclasses

import numpy as np
from jaxtyping import Float32, Int32

from remoteclip_jax.data.types import Dataset


def target_distribution(
    labels: Int32[np.ndarray, "n"], boxes: Float32[np.ndarray, "n 4"], num_classes: int, rule: str
) -> Float32[np.ndarray, "k"]:
    """A distribution over the classes of an image with objects `labels` and `boxes` (cx, cy, w, h).

    With the `rule` "first" it is one-hot at the class of the first object (as in the original experiment), with
    "largest" at that of the largest one. With "multi" it is uniform over the classes present. ValueError for an image
    without objects and for an unknown rule.
    """
    if not len(labels):
        raise ValueError("an image without objects has no target")
    if rule == "first":
        chosen = labels[:1]
    elif rule == "largest":
        chosen = labels[[boxes[:, 2:].prod(-1).argmax()]]
    elif rule == "multi":
        chosen = np.unique(labels)
    else:
        raise ValueError(f"unknown rule {rule!r}")
    result = np.zeros(num_classes, np.float32)
    result[chosen] = 1 / len(chosen)
    return result


def without_empty_images(dataset: Dataset) -> tuple[Dataset, int]:
    """`dataset` without the images that have no object, and the number of these."""
    kept = tuple(example for example in dataset.examples if len(example.labels))
    return dataclasses.replace(dataset, examples=kept), len(dataset) - len(kept)
