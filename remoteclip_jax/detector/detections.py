"""The detections in one image, with NumPy only, so that drawing and counting do not need JAX."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int32

from remoteclip_jax.data.types import Example
from remoteclip_jax.errors import UserError

MAX_DETECTIONS = 300  # in an image, unless the user says otherwise
SAME_OBJECT = 0.5  # IoU above which the weaker of two detections of one class is suppressed
LIMIT = 3000  # with more detections, suppression would compare about a hundred million pairs


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects in one image: `boxes` as (x1, y1, x2, y2) in pixels of the upright input image, `scores` in [0, 1],
    and `labels`, which index `classes`. ValueError if these do not fit together."""

    boxes: Float32[np.ndarray, "n 4"]
    scores: Float32[np.ndarray, " n"]
    labels: Int32[np.ndarray, " n"]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.labels.shape != (n,):
            raise ValueError(f"boxes {self.boxes.shape}, scores {self.scores.shape} and labels {self.labels.shape}")
        if n and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(f"labels {self.labels.min()} to {self.labels.max()} of {len(self.classes)} classes")

    def __len__(self) -> int:
        return len(self.boxes)

    def above(self, threshold: float | Float[np.ndarray, " k"]) -> "Detections":
        """The detections with a score of at least `threshold`, one for all or one for each class, in the same order."""
        keep = self.scores >= (threshold[self.labels] if isinstance(threshold, np.ndarray) else threshold)
        return Detections(self.boxes[keep], self.scores[keep], self.labels[keep], self.classes)

    def scaled(self, factor: float) -> "Detections":
        """The same detections in an image `factor` times as large."""
        return Detections(self.boxes * np.float32(factor), self.scores, self.labels, self.classes)

    def to_json(self) -> list[dict[str, Any]]:
        """The `label` (a class name), `score` (four decimals) and `box` (hundredths of a pixel) of each detection."""
        return [
            {
                "label": self.classes[label],
                "score": round(float(score), 4),
                "box": [round(float(x), 2) for x in box],
            }
            for box, score, label in zip(self.boxes, self.scores, self.labels, strict=True)
        ]


def check_max_detections(count: int) -> None:
    """UserError for a maximum number of detections that is out of range."""
    if not 1 <= count <= LIMIT:
        raise UserError(f"--max_detections={count} is out of range: it must lie between 1 and {LIMIT}")


def true_objects(example: Example, classes: tuple[str, ...]) -> Detections:
    """The annotated objects of `example` as a perfect detector would find them, each with score 1."""
    size = np.array([example.width, example.height], np.float64)
    centres, sides = example.boxes[:, :2] * size, example.boxes[:, 2:] * size
    corners = np.concatenate([centres - sides / 2, centres + sides / 2], 1).astype(np.float32)
    return Detections(corners, np.ones(len(corners), np.float32), example.labels.astype(np.int32), classes)
