"""The evaluation of a detector on a split, and its files: metrics, predictions, curves and pictures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from remoteclip_jax.clip.text_embeddings import TextEmbeddings
from remoteclip_jax.data.reading import require_boxes
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.data.views import check_size, format_views, resized_views
from remoteclip_jax.detector.detections import Detections, check_max_detections
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.evaluation.coco_format import coco_ground_truth, coco_predictions
from remoteclip_jax.evaluation.curves import precision_recall_figure
from remoteclip_jax.evaluation.detection import class_indices, curves, metrics, score, table
from remoteclip_jax.evaluation.pictures import best_and_worst, save_picture
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.evaluation_data import (
    EvalSettings,
    evaluates_validation,
    evaluation_data_dir,
    evaluation_embeddings,
    read_evaluation_split,
)
from remoteclip_jax.runtime.devices import AXIS

from .config import DetectConfig
from .loading import load_detector
from .prediction import make_predictor
from .thresholds import facts_line, fit_thresholds, threshold_facts, without_novel


def write_evaluation(
    dataset: Dataset, found: Sequence[Detections], directory: Path, facts: dict[str, Any], novel: Sequence[str] = ()
) -> dict[str, Any]:
    """Score the detections `found` in the images of `dataset`, and write the results into `directory`:

    - `metrics.json`: the metrics (also for the `novel` classes), `facts`, and notes on what was dropped or repaired;
    - `predictions.json` and `ground_truth.json` in COCO's format, with the user's own ids;
    - `precision_recall.png`;
    - `best-N.jpg` and `worst-N.jpg`: annotations beside detections.

    Returns the content of `metrics.json`.
    """
    scores, predictions = score(dataset, found), coco_predictions(dataset, found)
    notes = list(dataset.notes)
    if left_out := sum(map(len, found)) - len(predictions):
        notes.append(f"{dataset.split}: {left_out} detections left out, because their box or score is not finite")
    result = {**metrics(scores, novel), "images": len(dataset), "notes": notes, **facts}
    directory.mkdir(parents=True, exist_ok=True)
    for path in (*directory.glob("best-*.jpg"), *directory.glob("worst-*.jpg")):
        path.unlink()
    write_atomically(directory / "predictions.json", json.dumps(predictions))
    write_atomically(directory / "ground_truth.json", json.dumps(coco_ground_truth(dataset)))
    write_atomically(directory / "precision_recall.png", precision_recall_figure(curves(scores)))
    for name, index in best_and_worst(dataset, found).items():
        save_picture(directory / f"{name}.jpg", dataset, found, index)
    write_atomically(directory / "metrics.json", json.dumps(result, indent=2) + "\n")
    return result


def evaluate(run: RunDirectory, config: DetectConfig, settings: EvalSettings) -> dict[str, Any]:
    """Evaluate the run's best checkpoint on a split. Writes and returns the results (see `write_evaluation`). If it is
    the run's validation split, the run's score thresholds are fitted to it."""
    detector = load_detector(run.root)
    dataset, stored_embeddings = read_evaluation_split(run, config, settings, detector.clip.embed_dim, require_boxes)
    data_dir = evaluation_data_dir(run, config, settings)
    require_boxes(dataset, data_dir)
    class_indices(settings.novel, dataset.classes)  # checked here, because a typing error must not show after minutes
    embeddings = evaluation_embeddings(detector.text, dataset.classes, stored_embeddings, settings.templates)
    views, max_detections = detector.views, detector.max_detections
    if settings.max_detections is not None:
        check_max_detections(settings.max_detections)
        max_detections = settings.max_detections
    if settings.image_size:
        check_size(settings.image_size)
        views = resized_views(views, settings.image_size)
    texts, novel = TextEmbeddings(dataset.classes, embeddings), None
    if settings.frozen_tower:
        texts, novel = detector.novel(texts)
    predict = make_predictor(
        Detector(detector.clip, detector.config, dtype=jnp.dtype(detector.dtype), axis_name=AXIS),
        jnp.asarray(texts.embeddings),
        dataset.classes,
        batch_size=settings.batch_size or config.batch_size,
        views=views,
        max_detections=max_detections,
        novel=novel,
    )
    facts = {
        "data_dir": str(data_dir),
        "views": views,
        "templates": list(settings.templates or ()),
        "max_detections": max_detections,
        "frozen_tower": novel is not None,
    }
    found = predict(detector.variables, dataset)
    thresholds = detector.thresholds
    if evaluates_validation(run, config, settings):
        thresholds = fit_thresholds(run, *without_novel(dataset, found, config.novel))
    facts |= threshold_facts(thresholds, dataset, found)
    return write_evaluation(dataset, found, run.evaluation(settings.split), facts, settings.novel)


def describe(result: dict[str, Any]) -> str:
    """A result as text: first the notes on what was dropped or repaired while reading the data, then the figures."""
    lines = [*result.get("notes", ())]
    limit, views = result["max_detections"], format_views(result["views"])
    lines.append(f"{result['images']} images, predicted at {views} pixels, at most {limit} detections in each")
    if result.get("frozen_tower"):
        lines.append("classes that were not trained on are scored with the frozen tower, too")
    return "\n".join([*lines, facts_line(result), table(result)])
