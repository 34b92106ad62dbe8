"""COCO's matching and precision from pycocotools, with VOC's difficult objects ignored as well."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.evaluation.coco_format import coco_ground_truth, coco_predictions, plain_ids

MAX_PER_CLASS = 100  # detections of a class in an image that COCO counts


class Precision(NamedTuple):
    """Interpolated precision by IoU (0.50, 0.55, …, 0.95), recall (0, 0.01, …, 1) and class; −1 for a class without
    objects.

    `limited` counts the `MAX_PER_CLASS` best detections of each class in an image; its last axis is the area (all,
    small, medium, large). `unlimited` counts all detections.
    """

    limited: Float[np.ndarray, "10 101 k 4"]
    unlimited: Float[np.ndarray, "10 101 k"]


class _Evaluation(COCOeval):
    """COCOeval with difficult objects ignored too.

    COCOeval itself ignores only crowds, and detections by the share of their own area that lies in a crowd. A difficult
    object is ignored in the way of an object outside of the area range: one detection may match it, by IoU, and then
    counts neither for nor against the detector.
    """

    def _prepare(self) -> None:
        super()._prepare()
        for annotations in self._gts.values():
            for item in annotations:
                item["ignore"] = item["ignore"] or item.get("difficult", 0)


class Matches(NamedTuple):
    """The detections that count for or against a detector, of all images, matched at an IoU of 0.5: their `scores` and
    `labels`, and whether each `found` an object. `objects` is the number of objects to be found, by class."""

    scores: Float[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    found: Bool[np.ndarray, " n"]
    objects: Int[np.ndarray, " k"]


def coco_precision(dataset: Dataset, detections: Sequence[Detections]) -> Precision:
    """The precision of `detections` (one for each example, in order), matched with `dataset` by falling score."""
    evaluation = _prepared(dataset, detections)
    with contextlib.redirect_stdout(io.StringIO()):
        # Detections are matched by falling score, so the first 100 match alike however many follow.
        evaluation.params.maxDets = [MAX_PER_CLASS, max([MAX_PER_CLASS, *map(len, detections)])]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"]
    return Precision(precision[..., 0], precision[:, :, :, 0, 1])


def coco_matches(dataset: Dataset, detections: Sequence[Detections]) -> Matches:
    """COCO's matches of all `detections` (one for each example, in order) at an IoU of 0.5, for objects of any size.

    By falling score, each detection finds the object of its class that it overlaps most among those that are free. So
    what a detection finds does not depend on weaker ones.
    """
    evaluation = _prepared(dataset, detections)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
        evaluation.params.maxDets = [max([MAX_PER_CLASS, *map(len, detections)])]
        evaluation.evaluate()
    k = len(dataset.classes)
    objects = np.zeros(k, np.int64)
    counted = [(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, bool))]
    for image in filter(None, evaluation.evalImgs):
        label = image["category_id"] - 1  # see `plain_ids`
        objects[label] += np.count_nonzero(np.asarray(image["gtIgnore"]) == 0)
        counts = ~image["dtIgnore"][0]
        labels = np.full(np.count_nonzero(counts), label)
        counted.append((np.array(image["dtScores"])[counts], labels, image["dtMatches"][0][counts] > 0))
    scores, labels, found = (np.concatenate(column) for column in zip(*counted, strict=True))
    return Matches(scores, labels, found, objects)


def _prepared(dataset: Dataset, detections: Sequence[Detections]) -> _Evaluation:
    """The evaluation of `detections`, before anything is computed."""
    ids = plain_ids(dataset)
    truth = coco_ground_truth(dataset, ids)
    found = coco_predictions(dataset, detections, ids)
    for number, item in enumerate(found, 1):  # in place, because there may be millions
        item |= {"id": number, "area": item["bbox"][2] * item["bbox"][3], "iscrowd": 0}
    with contextlib.redirect_stdout(io.StringIO()):
        # Not `loadRes`, which fails if there are no detections.
        return _Evaluation(_indexed(truth), _indexed({**truth, "annotations": found}), "bbox")


def _indexed(content: dict[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return coco
