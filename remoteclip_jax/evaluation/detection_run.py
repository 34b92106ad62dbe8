"""Evaluating a detector on a split, and what is written of it: metrics, predictions, pictures, curves."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detections import Detections, true_objects
from remoteclip_jax.evaluation.curves import precision_recall_figure
from remoteclip_jax.evaluation.detection import coco_ground_truth, coco_predictions, curves, metrics, score
from remoteclip_jax.evaluation.draw import image_quality, side_by_side
from remoteclip_jax.files import write_atomically

SHOWN_SCORE = 0.3  # what the pictures show, and what they are ranked by
PICTURES = 6  # of the best images, and as many of the worst


def write_evaluation(
    dataset: Dataset, found: Sequence[Detections], directory: Path, facts: dict[str, Any], novel: Sequence[str] = ()
) -> dict[str, Any]:
    """Score `found` against `dataset` and write into `directory`, made anew:

    `metrics.json` (`evaluate_detections` and `facts`), `predictions.json` and `ground_truth.json` in COCO's format,
    `precision_recall.png`, and `best-N.jpg` and `worst-N.jpg`, annotation beside detections. Returns the metrics.
    """
    scores = score(dataset, found)
    result = {**metrics(scores, novel), "images": len(dataset), **facts}
    directory.mkdir(parents=True, exist_ok=True)
    for path in (*directory.glob("best-*.jpg"), *directory.glob("worst-*.jpg")):
        path.unlink()
    write_atomically(directory / "predictions.json", json.dumps(coco_predictions(dataset, found)))
    write_atomically(directory / "ground_truth.json", json.dumps(coco_ground_truth(dataset)))
    write_atomically(directory / "precision_recall.png", precision_recall_figure(curves(scores)))
    for name, index in ranked(dataset, found).items():
        save_picture(directory / f"{name}.jpg", dataset, found, index)
    write_atomically(directory / "metrics.json", json.dumps(result, indent=2) + "\n")
    return result


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
    """The annotation of one image beside what was found in it."""
    example = dataset.examples[index]
    title = f"{example.image.name}: F1 {image_quality(example, found[index], SHOWN_SCORE):.2f}"
    shown = found[index].above(SHOWN_SCORE)
    image = read_image(example.image, bands=dataset.bands)
    picture = side_by_side(image, true_objects(example, dataset.classes), shown, title)
    write_atomically(path, _jpeg(picture))


def _jpeg(picture: Any) -> Callable[[Any], None]:
    return lambda file: picture.save(file, "JPEG", quality=88)
