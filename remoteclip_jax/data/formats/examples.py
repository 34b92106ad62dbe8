"""Building an `Example` from what an annotation file says, in one way for all formats."""

from pathlib import Path

import numpy as np

from remoteclip_jax.data.formats.voc import normalise_boxes
from remoteclip_jax.data.types import Annotations, Example


def make_example(image: Path, size: tuple[int, int], annotations: Annotations) -> tuple[Example, int]:
    """The example of an image of `size` (width, height), and the number of annotations without area inside the image.

    Annotations without area are not learned from, but stay in `annotations`. Crowds and difficult objects become
    `ignored` (see `Example`).
    """
    corners = annotations.boxes.copy()
    corners[:, 2:] += corners[:, :2]
    boxes, keep = normalise_boxes(corners.astype(np.float32), annotations.width, annotations.height)
    labels, ignored = annotations.labels[keep], (annotations.crowd | annotations.difficult)[keep]
    example = Example(image, *size, boxes[~ignored], labels[~ignored], boxes[ignored], labels[ignored], annotations)
    return example, int((~keep).sum())
