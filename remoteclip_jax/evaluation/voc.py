"""VOC 2007's average precision, by VOC's own matching (Everingham et al. 2010, section 4.2, and its kit)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.evaluation.truth import annotated_boxes, annotation, ignored, overlaps, usable

IOU = 0.5  # from which on a detection has found an object


def voc_precision(dataset: Dataset, detections: Sequence[Detections]) -> Float[np.ndarray, " k"]:
    """The 11-point AP of each class over all of its detections (one `Detections` an example, in order), −1 where it has
    no object.

    By falling score over all images, each detection goes to the object of its class that it overlaps most. From an IoU
    of 0.5 on it is right where it is the object's first and wrong where the object is taken, though another one be
    free; where that object is difficult it is neither right nor wrong, however often. So is one that has found no
    object and lies by half in a crowd, which VOC does not know. Coordinates are continuous, as everywhere here, where
    the kit adds a pixel to every side.
    """
    k, first = len(dataset.classes), 0
    objects = np.zeros(k, np.int64)
    judged = [(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))]  # scores, labels, numbers of objects or −1
    for example, found in zip(dataset.examples, detections, strict=True):
        known, keep = annotation(example), usable(found)
        objects += np.bincount(known.labels[~ignored(known)], minlength=k)
        scores, labels = found.scores[keep], found.labels[keep]
        same = labels[:, None] == known.labels
        overlap = np.where(same, overlaps(annotated_boxes(example, known, found)[keep], known), 0)
        alone = np.pad(np.where(known.crowd, 0, overlap), ((0, 0), (0, 1)))  # the last column is no object
        nearest = alone.argmax(1)
        met = alone.max(1) >= IOU
        counts = np.where(met, ~np.append(known.difficult, False)[nearest], overlap.max(1, initial=0) < IOU)
        judged.append((scores[counts], labels[counts], np.where(met, first + nearest, -1)[counts]))
        first += len(known.labels)
    scores, labels, numbers = (np.concatenate(column) for column in zip(*judged, strict=True))
    order = np.argsort(-scores, kind="stable")
    result = np.full(k, -1.0)
    for label in np.flatnonzero(objects):
        result[label] = eleven_points(_firsts(numbers[order[labels[order] == label]]), int(objects[label]))
    return result


def _firsts(numbers: Int[np.ndarray, " n"]) -> list[bool]:
    """Which of the objects met were not met before."""
    hits = np.zeros(len(numbers), bool)
    hits[np.unique(numbers, return_index=True)[1]] = True
    return (hits & (numbers >= 0)).tolist()


def eleven_points(hits: Sequence[bool], objects: int) -> float:
    """VOC 2007's AP: the mean, over recalls 0, 0.1, …, 1, of the best precision at that recall or a higher one.

    `hits` says of each detection, by falling score, whether it found one of the `objects` (at least one).
    """
    found = np.cumsum(np.asarray(hits, np.int64))
    precision = found / np.arange(1, len(found) + 1)
    # In whole numbers: as floats, three objects of ten fall short of a recall of 0.3.
    return float(np.mean([precision[10 * found >= tenth * objects].max(initial=0) for tenth in range(11)]))
