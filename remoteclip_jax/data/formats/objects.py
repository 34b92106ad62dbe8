"""From what an annotation file says of an image to an `Example`: one way for all formats."""

from pathlib import Path

import numpy as np

from remoteclip_jax.data.formats.voc import normalise_boxes
from remoteclip_jax.data.types import Annotated, Example


def make_example(image: Path, size: tuple[int, int], annotated: Annotated) -> tuple[Example, int]:
    """The example of an image of `size` (width, height), and how many annotations have no area inside it: those are no
    objects to learn from, and stay in `annotated`.

    Crowds and difficult objects become `ignored` (see `Example`).
    """
    corners = annotated.boxes.copy()
    corners[:, 2:] += corners[:, :2]
    boxes, keep = normalise_boxes(corners.astype(np.float32), annotated.width, annotated.height)
    labels, aside = annotated.labels[keep], (annotated.crowd | annotated.difficult)[keep]
    example = Example(image, *size, boxes[~aside], labels[~aside], boxes[aside], labels[aside], annotated)
    return example, int((~keep).sum())
