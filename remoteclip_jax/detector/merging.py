"""One list of detections from those in the windows of an image, with NumPy only.

A window keeps the objects whose centre lies in its own part of the image (see `data.tiling`). Those that a border cuts
off are left to the next level, which shows them whole. What two windows found alike is then suppressed by class, as
within a window.
"""

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32

from remoteclip_jax.data.tiling import SceneWindow
from remoteclip_jax.detector.detections import SAME_OBJECT, Detections

OWN_SLACK = 0.0625  # of a window's side: objects between two windows are taken from both, and the better one is kept
BORDER = 0.005  # of a window's side: a box that ends so close to a border is cut off by it
PAIRS_AT_A_TIME = 250_000


def kept_in_window(window: SceneWindow, boxes: Float32[np.ndarray, "n 4"]) -> Bool[np.ndarray, " n"]:
    """The mask of the objects that `window` keeps; `boxes` are corners in pixels of the image."""
    slack, border = OWN_SLACK * window.side, max(1.0, BORDER * window.side)
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    (x1, x2), (y1, y2) = window.own_x, window.own_y
    keep = (x >= x1 - slack) & (x < x2 + slack) & (y >= y1 - slack) & (y < y2 + slack)
    keep &= (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0) >= window.min_object
    right, bottom = window.left + window.side, window.top + window.side
    for is_inner, distance in zip(
        window.inner,
        (boxes[:, 0] - window.left, boxes[:, 1] - window.top, right - boxes[:, 2], bottom - boxes[:, 3]),
        strict=True,
    ):
        if is_inner:
            keep &= distance > border
    return np.asarray(keep)


class Collection:
    """The detections of an image's windows, in three arrays that grow by doubling: thousands of small ones, kept while
    batches come and go, would leave no room between them for the large arrays of a batch."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._classes, self._count, self._windows = classes, 0, 0
        self._boxes = np.empty((1024, 4), np.float32)
        self._scores = np.empty(1024, np.float32)
        self._labels = np.empty(1024, np.int32)

    def __bool__(self) -> bool:
        """Whether a window was added."""
        return self._windows > 0

    def add(self, part: Detections) -> None:
        """Add what a window keeps."""
        self._windows += 1
        end = self._count + len(part)
        while end > len(self._boxes):
            self._boxes, self._scores, self._labels = (
                np.concatenate([array, np.empty_like(array)]) for array in (self._boxes, self._scores, self._labels)
            )
        self._boxes[self._count : end] = part.boxes
        self._scores[self._count : end] = part.scores
        self._labels[self._count : end] = part.labels
        self._count = end

    def merged(self) -> Detections:
        """All of them, best first, without those of one class that overlap a better one from another window."""
        order = np.argsort(-self._scores[: self._count], kind="stable")
        boxes, scores, labels = self._boxes[order], self._scores[order], self._labels[order]
        if self._windows > 1:
            keep = suppressed(boxes, labels)
            boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        return Detections(boxes, scores, labels, self._classes)


def suppressed(boxes: Float32[np.ndarray, "n 4"], labels: Int32[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """The mask that greedy suppression by class keeps, of boxes sorted by falling score.

    The work grows with the number of boxes that meet along the x axis, not with the square of all.
    """
    keep = np.ones(len(boxes), bool)
    first, second = _overlapping_pairs(boxes, labels)
    order = np.argsort(first, kind="stable")
    for better, worse in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if keep[better]:
            keep[worse] = False
    return keep


def _overlapping_pairs(
    boxes: Float32[np.ndarray, "n 4"], labels: Int32[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]]:
    """The pairs of boxes of one class whose IoU exceeds `SAME_OBJECT`, the lower index first."""
    order = np.argsort(boxes[:, 0], kind="stable")
    x1 = boxes[order, 0]
    # In this order, the partners of a box are those that begin before it ends.
    counts = np.searchsorted(x1, boxes[order, 2], "left") - np.arange(1, len(boxes) + 1)
    counts = np.maximum(counts, 0)
    found: list[tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]]] = []
    start = 0
    ends = np.cumsum(counts)
    while start < len(boxes):
        limit = (ends[start - 1] if start else 0) + PAIRS_AT_A_TIME
        stop = max(start + 1, int(np.searchsorted(ends, limit, "right")))
        a = np.repeat(np.arange(start, stop), counts[start:stop])
        b = (
            a
            + 1
            + np.arange(len(a))
            - np.repeat(ends[start:stop] - counts[start:stop] - (ends[start - 1] if start else 0), counts[start:stop])
        )
        a, b = order[a], order[b]
        same = (labels[a] == labels[b]) & (boxes[a, 1] < boxes[b, 3]) & (boxes[b, 1] < boxes[a, 3])
        a, b = a[same], b[same]
        match = _iou(boxes[a], boxes[b]) > SAME_OBJECT
        found.append((np.minimum(a[match], b[match]), np.maximum(a[match], b[match])))
        start = stop
    empty = np.zeros(0, np.int64)
    return np.concatenate([empty, *(a for a, _ in found)]), np.concatenate([empty, *(b for _, b in found)])


def _iou(a: Float32[np.ndarray, "n 4"], b: Float32[np.ndarray, "n 4"]) -> Float32[np.ndarray, " n"]:
    size = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.clip(size, 0, None).prod(1)
    both = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - shared
    return np.asarray(np.divide(shared, both, out=np.zeros_like(shared), where=both > 0), np.float32)
