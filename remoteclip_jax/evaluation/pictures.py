"""Pictures of a split: the annotation beside the detections, for the best and the worst images."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.detector.detections import Detections, true_objects
from remoteclip_jax.evaluation.draw import MAX_SIDE, side_by_side
from remoteclip_jax.evaluation.truth import annotated_boxes, annotation, ignored_mask, overlaps
from remoteclip_jax.files.writing import write_atomically

MIN_SCORE = 0.3  # of detections in the pictures, and in the F1 that ranks the images
PICTURES = 6  # of the best images, and as many of the worst
MATCH_IOU = 0.5  # from which a detection matches an object
GREY = (150, 150, 150)  # the frames of ignored objects


def best_and_worst(dataset: Dataset, found: Sequence[Detections], count: int = PICTURES) -> dict[str, int]:
    """The indices of the best and the worst images with objects, by the names `best-1` …, `worst-1` ….

    They are ranked by F1 at `MIN_SCORE`. Among equals, images with more objects come first, since they show more.
    """
    pairs = zip(dataset.examples, found, strict=True)
    quality = np.array([image_quality(example, one, MIN_SCORE) for example, one in pairs])
    objects = np.array([len(example.labels) for example in dataset.examples])
    shown = np.flatnonzero(objects) if objects.any() else np.arange(len(dataset))
    best = shown[np.lexsort((-objects[shown], -quality[shown]))][:count]
    worst = [i for i in shown[np.lexsort((-objects[shown], quality[shown]))][:count] if i not in best]
    names = {f"best-{i}": int(index) for i, index in enumerate(best, 1)}
    return names | {f"worst-{i}": int(index) for i, index in enumerate(worst, 1)}


def save_picture(path: Path, dataset: Dataset, found: Sequence[Detections], index: int) -> None:
    """Write a picture of one image, its annotation beside its detections; ignored objects have grey frames in both."""
    example = dataset.examples[index]
    title = f"{example.image.name}: F1 {image_quality(example, found[index], MIN_SCORE):.2f}"
    image = frame_ignored(read_image(example.image, bands=dataset.bands), example)
    shown = found[index].above(MIN_SCORE)
    picture = side_by_side(image, true_objects(example, dataset.classes), shown, title)
    write_atomically(path, _jpeg(picture))


def image_quality(example: Example, found: Detections, threshold: float) -> float:
    """The F1 score of the detections with a score of at least `threshold`; 1 if there are neither objects nor
    detections.

    By falling score, each detection matches the free object of its class with the highest IoU, if that is at least 0.5.
    A detection without a match is a false alarm, unless it overlaps an ignored object of its class as much.
    """
    truth, found = annotation(example), found.above(threshold)
    ignored = ignored_mask(truth)
    same_class = found.labels[:, None] == truth.labels
    overlap = np.where(same_class, overlaps(annotated_boxes(example, truth, found), truth), 0)
    free, hits, false_alarms = ~ignored, 0, 0
    for i in np.argsort(-found.scores, kind="stable"):
        candidates = np.where(free, overlap[i], 0)
        if candidates.max(initial=0) >= MATCH_IOU:
            free[candidates.argmax()] = False
            hits += 1
        elif overlap[i][ignored].max(initial=0) < MATCH_IOU:
            false_alarms += 1
    total = int((~ignored).sum()) + hits + false_alarms
    return 2 * hits / total if total else 1.0


def frame_ignored(image: Image.Image, example: Example) -> Image.Image:
    """A copy of `image` with thin grey frames around the ignored objects of `example`; itself if there are none."""
    if not len(example.ignored):
        return image
    picture = image.copy()
    canvas = ImageDraw.Draw(picture)
    line = max(1, round(2 * max(image.size) / MAX_SIDE))  # one pixel in the reduced picture, which is half as wide
    size = np.array(image.size, np.float64)
    for centre, sides in zip(example.ignored[:, :2] * size, example.ignored[:, 2:] * size, strict=True):
        (left, top), (right, bottom) = centre - sides / 2, centre + sides / 2
        canvas.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=GREY, width=line)
    return picture


def _jpeg(picture: Image.Image) -> Callable[[Any], None]:
    """A function that writes `picture` to a file as a JPEG."""
    return lambda file: picture.save(file, "JPEG", quality=88)
