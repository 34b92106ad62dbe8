"""What a detector found in one image: numpy alone, so that drawing and counting need no JAX."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32

from remoteclip_jax.data.types import Example
from remoteclip_jax.errors import UserError

MAX_DETECTIONS = 300  # an image gets, unless the user says otherwise
LIMIT = 3000  # beyond it, suppression would compare some hundred million pairs


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects of one image: `boxes` as (x1, y1, x2, y2) in pixels of the upright input image, `scores` in [0, 1],
    `labels` that index `classes`. ValueError where the three do not go together."""

    boxes: Float32[np.ndarray, "n 4"]
    scores: Float32[np.ndarray, "n"]
    labels: Int32[np.ndarray, "n"]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.labels.shape != (n,):
            raise ValueError(f"boxes {self.boxes.shape}, scores {self.scores.shape} and labels {self.labels.shape}")
        if n and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(f"labels {self.labels.min()} to {self.labels.max()} of {len(self.classes)} classes")

    def __len__(self) -> int:
        return len(self.boxes)

    def above(self, threshold: float) -> "Detections":
        """Those with a score of at least `threshold`, in their order."""
        keep = self.scores >= threshold
        return Detections(self.boxes[keep], self.scores[keep], self.labels[keep], self.classes)

    def scaled(self, factor: float) -> "Detections":
        """The same in an image `factor` times as large."""
        return Detections(self.boxes * np.float32(factor), self.scores, self.labels, self.classes)

    def to_json(self) -> list[dict[str, Any]]:
        """`label` (the class's name), `score` (four decimals) and `box` (hundredths of a pixel) of each."""
        return [
            {
                "label": self.classes[label],
                "score": round(float(score), 4),
                "box": [round(float(x), 2) for x in box],
            }
            for box, score, label in zip(self.boxes, self.scores, self.labels, strict=True)
        ]


def check_max_detections(count: int) -> None:
    """UserError for a number of detections that an image cannot get."""
    if not 1 <= count <= LIMIT:
        raise UserError(f"--max_detections={count} is out of range: it must lie between 1 and {LIMIT}")


def true_objects(example: Example, classes: tuple[str, ...]) -> Detections:
    """The annotated objects of `example` as a faultless detector would find them, each with score 1."""
    size = np.array([example.width, example.height], np.float64)
    centres, sides = example.boxes[:, :2] * size, example.boxes[:, 2:] * size
    corners = np.concatenate([centres - sides / 2, centres + sides / 2], 1).astype(np.float32)
    return Detections(corners, np.ones(len(corners), np.float32), example.labels.astype(np.int32), classes)
