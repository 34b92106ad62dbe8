"""What every reader returns: images with their objects, in one form, whatever the files looked like."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32


@dataclass(frozen=True, eq=False)
class Example:
    """One image and its objects.

    `boxes` are normalised (cx, cy, w, h) in [0, 1] of the stored image; `labels` index the data set's `classes`.
    A scene of a class folder is an object that fills its image.
    """

    image: Path
    width: int
    height: int
    boxes: Float32[np.ndarray, "n 4"]
    labels: Int32[np.ndarray, "n"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split. `has_boxes` is False for class folders, which `detect` cannot use. `notes` go to the screen and the
    report: what was dropped or repaired while reading, and how often."""

    split: str
    classes: tuple[str, ...]
    examples: tuple[Example, ...]
    has_boxes: bool = True
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.examples)
