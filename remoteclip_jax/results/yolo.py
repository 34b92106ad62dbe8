"""Ultralytics' text files, as its `save_txt` and `save_conf` write them: one an image, and one with the class names."""

from collections.abc import Sequence

import numpy as np

from remoteclip_jax.printable import printable
from remoteclip_jax.results.image_result import ImageResult


def yolo_text(result: ImageResult) -> str:
    """A line for each detection: number of the class from 0, centre x and y, width, height, score. Lengths are shares
    of the image's width and height."""
    found, size = result.found, np.array([result.width, result.height], np.float64)
    starts, ends = (found.boxes[:, i : i + 2].astype(np.float64) / size for i in (0, 2))
    rows = np.concatenate([(starts + ends) / 2, ends - starts, found.scores[:, None]], 1)
    lines = (
        f"{label} " + " ".join(f"{x:.7g}" for x in row) for label, row in zip(found.labels.tolist(), rows, strict=True)
    )
    return "".join(f"{line}\n" for line in lines)


def yolo_classes(classes: Sequence[str]) -> str:
    """The names of classes, one a line, in the order of their numbers."""
    return "".join(f"{printable(name)}\n" for name in classes)
