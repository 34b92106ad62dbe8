"""The score thresholds with the best F1."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.detector.thresholds import Thresholds
from remoteclip_jax.evaluation.coco_ap import coco_matches

# A class with fewer objects takes the overall threshold. In a simulation (normal logits of right and wrong detections,
# best F1 64 %), thresholds fitted to 5, 10, 20 and 40 objects of a class lost 7, 4, 2.2 and 1.5 points on other images.
# The overall one lost 1.5, 5 or 13, where the classes' logits differed with a standard deviation of 0.3, 0.6 or 1.
MIN_OBJECTS = 20


class Best(NamedTuple):
    """The best F1, and the score from which on detections are kept for it."""

    threshold: float
    f1: float


def best_f1(dataset: Dataset, found: Sequence[Detections]) -> Thresholds | None:
    """The scores with the best F1 of `found` (one for each example, in order): over all classes together, and for each
    class of at least `MIN_OBJECTS` objects.

    F1 is 2 · right / (detections + objects). A detection is right as in COCO at an IoU of 0.5 (see `coco_matches`), and
    crowds and difficult objects count neither way. Detections of equal score are kept or left out together; among
    equal F1, the highest score is taken. None if no detection is right, in particular without objects.
    """
    matches = coco_matches(dataset, found)
    overall = _best(matches.scores, matches.found, int(matches.objects.sum()))
    if overall is None:
        return None
    per_class = {}
    for label in np.flatnonzero(matches.objects >= MIN_OBJECTS):
        mine = matches.labels == label
        best = _best(matches.scores[mine], matches.found[mine], int(matches.objects[label]))
        if best is not None:
            per_class[dataset.classes[label]] = best.threshold
    return Thresholds(overall.threshold, overall.f1, per_class, dataset.split)


def f1_at(dataset: Dataset, found: Sequence[Detections], threshold: float) -> float | None:
    """F1, as for `best_f1`, of those `found` whose score is at least `threshold`; None if there are neither detections
    nor objects."""
    matches = coco_matches(dataset, [detections.above(threshold) for detections in found])
    total = len(matches.scores) + int(matches.objects.sum())
    return 2 * int(matches.found.sum()) / total if total else None


def _best(scores: Float[np.ndarray, " n"], found: Bool[np.ndarray, " n"], objects: int) -> Best | None:
    """The best threshold for these detections of `objects` objects; None if none of them is right."""
    if not found.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    f1 = 2 * np.cumsum(found[order]) / (np.arange(1, len(order) + 1) + objects)
    f1[:-1][ordered[:-1] == ordered[1:]] = -1  # a threshold cannot part equal scores
    place = int(f1.argmax())
    return Best(float(ordered[place]), float(f1[place]))
