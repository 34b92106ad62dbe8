"""VOC 2007's average precision, with VOC's own matching (Everingham et al. 2010, section 4.2, and its kit)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.evaluation.truth import annotated_boxes, annotation, ignored_mask, overlaps, valid_mask

IOU = 0.5  # from which a detection has found an object


def voc_precision(dataset: Dataset, detections: Sequence[Detections]) -> Float[np.ndarray, " k"]:
    """The 11-point AP of each class, over all `detections` (one for each example, in order); −1 without objects.

    By falling score over all images, each detection is compared with the object of its class that it overlaps most. If
    their IoU is at least 0.5, the detection is right if it is the object's first one, and wrong otherwise, even if
    another object is free. If that object is difficult, the detection does not count. Neither does a detection that has
    found no object but lies at least half in a crowd (VOC itself has no crowds). Coordinates are continuous, as
    everywhere in this package; the kit adds a pixel to every side.
    """
    k, first = len(dataset.classes), 0
    objects = np.zeros(k, np.int64)
    counted = [(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))]  # scores, labels, object numbers or −1
    for example, found in zip(dataset.examples, detections, strict=True):
        truth, keep = annotation(example), valid_mask(found)
        objects += np.bincount(truth.labels[~ignored_mask(truth)], minlength=k)
        scores, labels = found.scores[keep], found.labels[keep]
        same_class = labels[:, None] == truth.labels
        overlap = np.where(same_class, overlaps(annotated_boxes(example, truth, found)[keep], truth), 0)
        single = np.pad(np.where(truth.crowd, 0, overlap), ((0, 0), (0, 1)))  # the last column means no object
        nearest = single.argmax(1)
        matched = single.max(1) >= IOU
        counts = np.where(matched, ~np.append(truth.difficult, False)[nearest], overlap.max(1, initial=0) < IOU)
        counted.append((scores[counts], labels[counts], np.where(matched, first + nearest, -1)[counts]))
        first += len(truth.labels)
    scores, labels, numbers = (np.concatenate(column) for column in zip(*counted, strict=True))
    order = np.argsort(-scores, kind="stable")
    result = np.full(k, -1.0)
    for label in np.flatnonzero(objects):
        result[label] = eleven_points(_first_matches(numbers[order[labels[order] == label]]), int(objects[label]))
    return result


def _first_matches(numbers: Int[np.ndarray, " n"]) -> list[bool]:
    """For each detection, whether it is the first one of its object; False for −1, no object."""
    hits = np.zeros(len(numbers), bool)
    hits[np.unique(numbers, return_index=True)[1]] = True
    return (hits & (numbers >= 0)).tolist()


def eleven_points(hits: Sequence[bool], objects: int) -> float:
    """VOC 2007's AP: the mean, over recalls 0, 0.1, …, 1, of the best precision at that recall or a higher one.

    `hits` says for each detection, by falling score, whether it found an object. `objects`, their number, is positive.
    """
    found = np.cumsum(np.asarray(hits, np.int64))
    precision = found / np.arange(1, len(found) + 1)
    # In integers: with floats, three objects of ten do not reach a recall of 0.3.
    return float(np.mean([precision[10 * found >= tenth * objects].max(initial=0) for tenth in range(11)]))
