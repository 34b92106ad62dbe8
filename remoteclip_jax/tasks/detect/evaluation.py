"""Evaluating a detector on a split, and what is written of it: metrics, predictions, pictures, curves."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.evaluation.coco_format import coco_ground_truth, coco_predictions
from remoteclip_jax.evaluation.curves import precision_recall_figure
from remoteclip_jax.evaluation.detection import curves, metrics, score
from remoteclip_jax.evaluation.pictures import ranked, save_picture
from remoteclip_jax.files.writing import write_atomically


def write_evaluation(
    dataset: Dataset, found: Sequence[Detections], directory: Path, facts: dict[str, Any], novel: Sequence[str] = ()
) -> dict[str, Any]:
    """Score `found` against `dataset` and write into `directory`, made anew:

    `metrics.json` (`evaluate_detections`, `facts`, and the `notes` of what was dropped or repaired), `predictions.json`
    and `ground_truth.json` in COCO's format with the user's own ids, `precision_recall.png`, and `best-N.jpg` and
    `worst-N.jpg`, annotation beside detections. Returns the metrics.
    """
    scores, predictions = score(dataset, found), coco_predictions(dataset, found)
    notes = list(dataset.notes)
    if left_out := sum(map(len, found)) - len(predictions):
        notes.append(f"{dataset.split}: {left_out} detections left out whose box or score is not finite")
    result = {**metrics(scores, novel), "images": len(dataset), "notes": notes, **facts}
    directory.mkdir(parents=True, exist_ok=True)
    for path in (*directory.glob("best-*.jpg"), *directory.glob("worst-*.jpg")):
        path.unlink()
    write_atomically(directory / "predictions.json", json.dumps(predictions))
    write_atomically(directory / "ground_truth.json", json.dumps(coco_ground_truth(dataset)))
    write_atomically(directory / "precision_recall.png", precision_recall_figure(curves(scores)))
    for name, index in ranked(dataset, found).items():
        save_picture(directory / f"{name}.jpg", dataset, found, index)
    write_atomically(directory / "metrics.json", json.dumps(result, indent=2) + "\n")
    return result
