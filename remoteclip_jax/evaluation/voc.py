"""VOC 2007's average precision, by VOC's own matching (Everingham et al. 2010, section 4.2, and its kit)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detections import Detections
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
    k = len(dataset.classes)
    objects = np.zeros(k, np.int64)
    rows: list[tuple[float, int, tuple[int, int] | None]] = []  # score, label, and the object that was found
    for image, (example, found) in enumerate(zip(dataset.examples, detections, strict=True)):
        known = annotation(example)
        objects += np.bincount(known.labels[~ignored(known)], minlength=k)
        keep = usable(found)
        labels, scores = found.labels[keep], found.scores[keep]
        same = labels[:, None] == known.labels
        overlap = np.where(same, overlaps(annotated_boxes(example, known, found)[keep], known), 0)
        alone = np.where(known.crowd, 0, overlap)
        for i, (score, label) in enumerate(zip(scores.tolist(), labels.tolist(), strict=True)):
            if alone[i].max(initial=0) >= IOU:
                nearest = int(alone[i].argmax())
                if not known.difficult[nearest]:
                    rows.append((score, label, (image, nearest)))
            elif overlap[i].max(initial=0) < IOU:
                rows.append((score, label, None))
    rows.sort(key=lambda row: -row[0])
    result = np.full(k, -1.0)
    for label in np.flatnonzero(objects):
        places = [place for _, of_class, place in rows if of_class == label]
        result[label] = eleven_points(_firsts(places), int(objects[label]))
    return result


def _firsts(places: Sequence[tuple[int, int] | None]) -> list[bool]:
    """Which of `places` are one that did not stand before."""
    first = {place: i for i, place in reversed(list(enumerate(places)))}
    return [place is not None and first[place] == i for i, place in enumerate(places)]


def eleven_points(hits: Sequence[bool], objects: int) -> float:
    """VOC 2007's AP: the mean, over recalls 0, 0.1, …, 1, of the best precision at that recall or a higher one.

    `hits` says of each detection, by falling score, whether it found one of the `objects` (at least one).
    """
    found = np.cumsum(np.asarray(hits, np.int64))
    precision = found / np.arange(1, len(found) + 1)
    # In whole numbers: as floats, three objects of ten fall short of a recall of 0.3.
    return float(np.mean([precision[10 * found >= tenth * objects].max(initial=0) for tenth in range(11)]))
