"""Which images of a split are shown, and how: annotation beside detections, the best and the worst."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.detector.detections import Detections, true_objects
from remoteclip_jax.evaluation.draw import LARGEST, side_by_side
from remoteclip_jax.evaluation.truth import annotated_boxes, annotation, ignored, overlaps
from remoteclip_jax.files.writing import write_atomically

SHOWN_SCORE = 0.3  # what the pictures show, and what they are ranked by
PICTURES = 6  # of the best images, and as many of the worst
SAME = 0.5  # IoU from which on a detection is an object
GREY = (150, 150, 150)  # of what is ignored


def ranked(dataset: Dataset, found: Sequence[Detections], count: int = PICTURES) -> dict[str, int]:
    """Names and indices of the best and the worst images with objects, by F1 at `SHOWN_SCORE`; of equals, those with
    more objects come first, because there is more to see."""
    pairs = zip(dataset.examples, found, strict=True)
    quality = np.array([image_quality(example, one, SHOWN_SCORE) for example, one in pairs])
    objects = np.array([len(example.labels) for example in dataset.examples])
    shown = np.flatnonzero(objects) if objects.any() else np.arange(len(dataset))
    best = shown[np.lexsort((-objects[shown], -quality[shown]))][:count]
    worst = [i for i in shown[np.lexsort((-objects[shown], quality[shown]))][:count] if i not in best]
    names = {f"best-{i}": int(index) for i, index in enumerate(best, 1)}
    return names | {f"worst-{i}": int(index) for i, index in enumerate(worst, 1)}


def save_picture(path: Path, dataset: Dataset, found: Sequence[Detections], index: int) -> None:
    """The annotation of one image beside what was found in it; what is ignored has a thin grey frame in both."""
    example = dataset.examples[index]
    title = f"{example.image.name}: F1 {image_quality(example, found[index], SHOWN_SCORE):.2f}"
    image = frame_ignored(read_image(example.image, bands=dataset.bands), example)
    shown = found[index].above(SHOWN_SCORE)
    picture = side_by_side(image, true_objects(example, dataset.classes), shown, title)
    write_atomically(path, _jpeg(picture))


def image_quality(example: Example, found: Detections, threshold: float) -> float:
    """F1 of the detections with a score of at least `threshold`, to rank pictures by; 1 where there was nothing to
    find and nothing was found.

    By falling score, each takes the object of its class, among those still free, that it overlaps most, from IoU 0.5.
    One that takes none, but lies as closely on what is ignored of its class, is no false alarm.
    """
    known, found = annotation(example), found.above(threshold)
    aside = ignored(known)
    overlap = np.where(
        found.labels[:, None] == known.labels, overlaps(annotated_boxes(example, known, found), known), 0
    )
    free, hits, wrong = ~aside, 0, 0
    for i in np.argsort(-found.scores, kind="stable"):
        candidates = np.where(free, overlap[i], 0)
        if candidates.max(initial=0) >= SAME:
            free[candidates.argmax()] = False
            hits += 1
        elif overlap[i][aside].max(initial=0) < SAME:
            wrong += 1
    judged = int((~aside).sum()) + hits + wrong
    return 2 * hits / judged if judged else 1.0


def frame_ignored(image: Image.Image, example: Example) -> Image.Image:
    """`image`, or a copy of it with thin grey frames around what is ignored in `example`."""
    if not len(example.ignored):
        return image
    picture = image.copy()
    canvas = ImageDraw.Draw(picture)
    line = max(1, round(2 * max(image.size) / LARGEST))  # one pixel of the panel that it is reduced to
    size = np.array(image.size, np.float64)
    for centre, sides in zip(example.ignored[:, :2] * size, example.ignored[:, 2:] * size, strict=True):
        (left, top), (right, bottom) = centre - sides / 2, centre + sides / 2
        canvas.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=GREY, width=line)
    return picture


def _jpeg(picture: Image.Image) -> Callable[[Any], None]:
    return lambda file: picture.save(file, "JPEG", quality=88)
