"""Average precision of a split: COCO's figures by pycocotools, and VOC 2007's from the same matching.

As in COCO, the 100 best detections of each class in an image count, and no more.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from remoteclip_jax.data.classes import find
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detections import Detections
from remoteclip_jax.errors import UserError

MOST = 100  # detections of a class in an image
AREAS = ("small", "medium", "large")  # up to 32², up to 96², and more pixels of the stored image
IOU_50, IOU_75 = 0, 5  # in pycocotools' thresholds 0.50, 0.55, …, 0.95

Metrics = dict[str, Any]


class Curve(NamedTuple):
    """Precision at the 101 recall points 0, 0.01, …, 1, interpolated as COCO does; its mean is the AP."""

    recall: Float[np.ndarray, "101"]
    precision: Float[np.ndarray, "101"]


@dataclass(frozen=True, eq=False)
class Scores:
    """One evaluation, from which `metrics` and `curves` are read. -1 stands where there is nothing to measure.

    `precision` has an axis each for IoU, recall, class and area (all, then `AREAS`).
    """

    classes: tuple[str, ...]
    objects: Int[np.ndarray, "k"]
    precision: Float[np.ndarray, "10 101 k 4"]
    voc: Float[np.ndarray, "k"]


def coco_ground_truth(dataset: Dataset) -> dict[str, Any]:
    """`dataset` in COCO's format. Image ids are positions in the split from 1, category ids labels from 1."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, example in enumerate(dataset.examples, 1):
        images.append(
            {"id": image_id, "file_name": example.image.name, "width": example.width, "height": example.height}
        )
        size = np.array([example.width, example.height] * 2, np.float64)
        # Thousandths of a pixel undo the rounding of the stored float32, which would move a box of exactly 32² pixels
        # from one area to another.
        for (cx, cy, w, h), label in zip((example.boxes * size).tolist(), example.labels.tolist(), strict=True):
            box = [round(x, 3) for x in (cx - w / 2, cy - h / 2, w, h)]
            annotations.append(
                {
                    # From 1: pycocotools takes a match with annotation 0 for no match.
                    "id": len(annotations) + 1, "image_id": image_id, "category_id": label + 1, "bbox": box,
                    "area": box[2] * box[3], "iscrowd": 0,
                }
            )  # fmt: skip
    categories = [{"id": label, "name": name} for label, name in enumerate(dataset.classes, 1)]
    description = {"description": f"split {dataset.split}"}
    return {"info": description, "images": images, "annotations": annotations, "categories": categories}


def coco_predictions(dataset: Dataset, detections: Sequence[Detections]) -> list[dict[str, Any]]:
    """COCO's results format, with the ids of `coco_ground_truth`; one `Detections` an example, in order.

    What is not finite or has its corners the wrong way round is left out. ValueError where the number of images or
    the classes differ.
    """
    results = []
    for image_id, (_, found) in enumerate(zip(dataset.examples, detections, strict=True), 1):
        if found.classes != dataset.classes:
            raise ValueError(f"detections of image {image_id} have other classes than the data")
        boxes = found.boxes.astype(np.float64)
        sides = boxes[:, 2:] - boxes[:, :2]
        usable = np.isfinite(boxes).all(1) & np.isfinite(found.scores) & (sides >= 0).all(1)
        rows = np.concatenate([boxes[:, :2], sides], 1)[usable].tolist()
        for box, score, label in zip(rows, found.scores[usable].tolist(), found.labels[usable].tolist(), strict=True):
            results.append({"image_id": image_id, "category_id": label + 1, "bbox": box, "score": score})
    return results


def score(dataset: Dataset, detections: Sequence[Detections]) -> Scores:
    """Match `detections` (one an example, in order) with the objects of `dataset`, by class and falling score."""
    truth, k = coco_ground_truth(dataset), len(dataset.classes)
    found = [
        {**item, "id": number, "area": item["bbox"][2] * item["bbox"][3], "iscrowd": 0}
        for number, item in enumerate(coco_predictions(dataset, detections), 1)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        # Not `loadRes`, which fails where there are no detections.
        evaluation = COCOeval(_indexed(truth), _indexed({**truth, "annotations": found}), "bbox")
        evaluation.params.maxDets = [MOST]
        evaluation.evaluate()
        evaluation.accumulate()
    labels = np.array([item["category_id"] - 1 for item in truth["annotations"]], np.int64)
    objects = np.bincount(labels, minlength=k)
    return Scores(dataset.classes, objects, evaluation.eval["precision"][..., 0], _voc(evaluation, objects))


def metrics(scores: Scores, novel: Sequence[str] = ()) -> Metrics:
    """The figures of `evaluate_detections`."""
    unseen = np.array(indices(novel, scores.classes), np.int64)
    every, at_50 = scores.precision[..., 0], scores.precision[IOU_50, ..., 0]
    result: Metrics = {"map": _mean(every), "map_50": _mean(at_50), "map_75": _mean(scores.precision[IOU_75, ..., 0])}
    for area, name in enumerate(AREAS, 1):
        result[f"map_{name}"] = _mean(scores.precision[..., area])
    result["voc_map_50"] = _mean(scores.voc)
    result["per_class"] = {
        name: {
            "map": _mean(every[..., i]), "map_50": _mean(at_50[..., i]), "voc_ap_50": _mean(scores.voc[i]),
            "objects": int(scores.objects[i]),
        }
        for i, name in enumerate(scores.classes)
    }  # fmt: skip
    if novel:
        base = np.setdiff1d(np.arange(len(scores.classes)), unseen)
        for key, precision in (("map", every), ("map_50", at_50)):
            seen, unknown = _mean(precision[..., base]), _mean(precision[..., unseen])
            result |= {f"base_{key}": seen, f"novel_{key}": unknown, f"harmonic_{key}": harmonic_mean(seen, unknown)}
        result["novel"] = [scores.classes[i] for i in unseen]
    return result


def evaluate_detections(dataset: Dataset, detections: Sequence[Detections], novel: Sequence[str] = ()) -> Metrics:
    """AP of a split, in [0, 1], or None where there is no object to measure it on.

    `map`, `map_50`, `map_75`, `map_small`, `map_medium`, `map_large`: COCO's (Lin et al. 2014). `voc_map_50`: VOC
    2007's 11-point AP at IoU 0.5 (Everingham et al. 2010, section 4.2). `per_class`: by name, `map`, `map_50`,
    `voc_ap_50` and `objects`. Where `novel` names classes, also `base_`, `novel_` and `harmonic_` `map` and `map_50`
    (Xian et al. 2017: the harmonic mean of the other two), and the names as `novel`. Means go over the classes that
    have objects. UserError for an unknown name in `novel`.
    """
    indices(novel, dataset.classes)  # a typing error must not show after minutes
    return metrics(score(dataset, detections), novel)


def curves(scores: Scores) -> dict[str, Curve]:
    """By class, for those that have objects, the curve at IoU 0.5."""
    recall = np.linspace(0, 1, scores.precision.shape[1])
    return {
        name: Curve(recall, scores.precision[IOU_50, :, i, 0])
        for i, name in enumerate(scores.classes)
        if scores.objects[i]
    }


def precision_recall(dataset: Dataset, detections: Sequence[Detections]) -> dict[str, Curve]:
    """As `curves`, for those who want nothing else of the evaluation."""
    return curves(score(dataset, detections))


def harmonic_mean(a: float | None, b: float | None) -> float | None:
    """2ab / (a + b), 0 where both are 0, None where one is missing."""
    if a is None or b is None:
        return None
    return 2 * a * b / (a + b) if a + b else 0.0


def eleven_points(hits: Sequence[bool], objects: int) -> float:
    """VOC 2007's AP: the mean, over recalls 0, 0.1, …, 1, of the best precision at that recall or a higher one.

    `hits` says of each detection, by falling score, whether it found one of the `objects` (at least one).
    """
    found = np.cumsum(np.asarray(hits, np.int64))
    precision = found / np.arange(1, len(found) + 1)
    # In whole numbers: as floats, three objects of ten fall short of a recall of 0.3.
    return float(np.mean([precision[10 * found >= tenth * objects].max(initial=0) for tenth in range(11)]))


def table(figures: Metrics) -> str:
    """`figures` (of `evaluate_detections`) for the screen, in percent; classes by falling AP50."""
    novel = set(figures.get("novel", ()))
    heads = [("AP", "map"), ("AP50", "map_50"), ("AP75", "map_75"), *((area, f"map_{area}") for area in AREAS)]
    lines = ["   ".join(f"{head} {_percent(figures[key])}" for head, key in (*heads, ("VOC AP50", "voc_map_50")))]
    if novel:
        groups = (("base", "base"), ("novel", "novel"), ("harmonic mean", "harmonic"))
        lines += [
            f"{title}: AP {_percent(figures[f'{key}_map'])}, AP50 {_percent(figures[f'{key}_map_50'])}"
            for title, key in groups
        ]
    names = {name: f"{name} (novel)" if name in novel else name for name in figures["per_class"]}
    width = max(map(len, [*names.values(), "class"]))
    lines += ["", f"{'class':{width}}  {'AP':>6}  {'AP50':>6}  {'VOC AP50':>8}  {'objects':>8}"]
    rows = figures["per_class"].items()
    for name, row in sorted(rows, key=lambda item: 1.0 if item[1]["map_50"] is None else -item[1]["map_50"]):
        cells = [f"{_percent(row[key]):>{size}}" for key, size in (("map", 6), ("map_50", 6), ("voc_ap_50", 8))]
        lines.append("  ".join([f"{names[name]:{width}}", *cells, f"{row['objects']:>8}"]))
    return "\n".join(lines)


def _indexed(content: dict[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return coco


def _voc(evaluation: COCOeval, objects: Int[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    """`eleven_points` by class, from the matches at IoU 0.5; VOC's own matching calls a detection wrong whose nearest
    object is taken, where COCO's gives it the next nearest."""
    images, areas = len(evaluation.params.imgIds), len(evaluation.params.areaRng)
    result = np.full(len(objects), -1.0)
    for k in np.flatnonzero(objects):
        start = k * areas * images  # evalImgs is [class, area, image], flat; the first area is "all"
        matched = [item for item in evaluation.evalImgs[start : start + images] if item is not None]
        order = np.argsort(-np.concatenate([item["dtScores"] for item in matched]), kind="stable")
        hits = np.concatenate([item["dtMatches"][IOU_50] > 0 for item in matched])[order]
        result[k] = eleven_points(hits.tolist(), int(objects[k]))
    return result


def indices(names: Sequence[str], classes: Sequence[str]) -> list[int]:
    found = {name: find(name, classes) for name in names}
    for name, index in found.items():
        if index is None:
            raise UserError(f"no class {name!r} to call novel; the classes are {', '.join(classes)}")
    return sorted({index for index in found.values() if index is not None})


def _mean(values: Any) -> float | None:
    known = np.asarray(values)[np.asarray(values) > -1]
    return float(known.mean()) if known.size else None


def _percent(share: float | None) -> str:
    return "—" if share is None else f"{100 * share:.1f}"
