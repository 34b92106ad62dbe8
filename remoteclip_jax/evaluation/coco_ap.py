"""COCO's matching and precision by pycocotools, with VOC's difficult objects ignored as well."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.evaluation.coco_format import coco_ground_truth, coco_predictions, plain_ids

MOST = 100  # detections of a class in an image, as COCO counts them


class Precision(NamedTuple):
    """Interpolated precision by IoU 0.50, 0.55, …, 0.95, recall 0, 0.01, …, 1 and class, −1 where a class has no
    object: `best` of the `MOST` best detections of a class in an image, by area too (all, small, medium, large);
    `every` of all detections there are."""

    best: Float[np.ndarray, "10 101 k 4"]
    every: Float[np.ndarray, "10 101 k"]


class _Evaluation(COCOeval):
    """COCOeval ignores crowds alone, and whatever overlaps them by its own area. A difficult object is ignored as an
    object outside of the area range is: one detection may match it, by IoU, and counts neither way."""

    def _prepare(self) -> None:
        super()._prepare()
        for annotations in self._gts.values():
            for item in annotations:
                item["ignore"] = item["ignore"] or item.get("difficult", 0)


def coco_precision(dataset: Dataset, detections: Sequence[Detections]) -> Precision:
    """Match `detections` (one an example, in order) with the objects of `dataset`, by class and falling score."""
    ids = plain_ids(dataset)
    truth = coco_ground_truth(dataset, ids)
    found = coco_predictions(dataset, detections, ids)
    for number, item in enumerate(found, 1):  # in place: there may be millions
        item |= {"id": number, "area": item["bbox"][2] * item["bbox"][3], "iscrowd": 0}
    with contextlib.redirect_stdout(io.StringIO()):
        # Not `loadRes`, which fails where there are no detections.
        evaluation = _Evaluation(_indexed(truth), _indexed({**truth, "annotations": found}), "bbox")
        # Detections are matched by falling score: the first of them match alike, however many follow.
        evaluation.params.maxDets = [MOST, max([MOST, *map(len, detections)])]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"]
    return Precision(precision[..., 0], precision[:, :, :, 0, 1])


def _indexed(content: dict[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return coco
