"""Average precision of a split: COCO's figures from pycocotools, and VOC 2007's by its own rule.

`map`, `map_50` and the like are comparable with published figures: as in COCO, only the 100 best detections of each
class in an image count. `map_all` and `map_50_all` count all detections.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from remoteclip_jax.data.classes import find_class_index
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.errors import UserError
from remoteclip_jax.evaluation.coco_ap import MAX_PER_CLASS, coco_precision
from remoteclip_jax.evaluation.truth import annotation, ignored_mask
from remoteclip_jax.evaluation.voc import voc_precision

AREAS = ("small", "medium", "large")  # up to 32² pixels of the annotated image, up to 96², and larger
IOU_50, IOU_75 = 0, 5  # indices into pycocotools' thresholds 0.50, 0.55, …, 0.95

Metrics = dict[str, Any]


class Curve(NamedTuple):
    """Precision at the 101 recall points 0, 0.01, …, 1, interpolated as in COCO; its mean is the AP."""

    recall: Float[np.ndarray, "101"]
    precision: Float[np.ndarray, "101"]


@dataclass(frozen=True, eq=False)
class Scores:
    """The result of an evaluation, from which `metrics` and `curves` are computed; −1 where there are no objects.

    `objects` counts the objects to be found, by class, and `ignored` the crowds and difficult objects. `precision` has
    axes for IoU, recall, class and area (all, then `AREAS`), and counts the best 100 detections of each class in an
    image. `unlimited` counts all detections. `voc` is VOC 2007's AP by class.
    """

    classes: tuple[str, ...]
    objects: Int[np.ndarray, " k"]
    ignored: int
    precision: Float[np.ndarray, "10 101 k 4"]
    unlimited: Float[np.ndarray, "10 101 k"]
    voc: Float[np.ndarray, " k"]


def score(dataset: Dataset, detections: Sequence[Detections]) -> Scores:
    """The scores of `detections` (one for each example, in order), matched with `dataset` by falling score."""
    precision = coco_precision(dataset, detections)
    objects, ignored = np.zeros(len(dataset.classes), np.int64), 0
    for truth in map(annotation, dataset.examples):
        mask = ignored_mask(truth)
        objects += np.bincount(truth.labels[~mask], minlength=len(objects))
        ignored += int(mask.sum())
    voc = voc_precision(dataset, detections)
    return Scores(dataset.classes, objects, ignored, precision.limited, precision.unlimited, voc)


def metrics(scores: Scores, novel: Sequence[str] = ()) -> Metrics:
    """The metrics that `evaluate_detections` describes."""
    novel_indices = np.array(class_indices(novel, scores.classes), np.int64)
    all_ious, at_50 = scores.precision[..., 0], scores.precision[IOU_50, ..., 0]
    result: Metrics = {
        "map": _mean(all_ious),
        "map_50": _mean(at_50),
        "map_75": _mean(scores.precision[IOU_75, ..., 0]),
    }
    for area, name in enumerate(AREAS, 1):
        result[f"map_{name}"] = _mean(scores.precision[..., area])
    result |= {"map_all": _mean(scores.unlimited), "map_50_all": _mean(scores.unlimited[IOU_50])}
    result |= {"voc_map_50": _mean(scores.voc), "ignored": scores.ignored}
    result["per_class"] = {
        name: {
            "map": _mean(all_ious[..., i]),
            "map_50": _mean(at_50[..., i]),
            "voc_ap_50": _mean(scores.voc[i]),
            "objects": int(scores.objects[i]),
        }
        for i, name in enumerate(scores.classes)
    }
    if novel:
        base_indices = np.setdiff1d(np.arange(len(scores.classes)), novel_indices)
        for key, precision in (("map", all_ious), ("map_50", at_50)):
            base_ap, novel_ap = _mean(precision[..., base_indices]), _mean(precision[..., novel_indices])
            harmonic = harmonic_mean(base_ap, novel_ap)
            result |= {f"base_{key}": base_ap, f"novel_{key}": novel_ap, f"harmonic_{key}": harmonic}
        result["novel"] = [scores.classes[i] for i in novel_indices]
    return result


def evaluate_detections(dataset: Dataset, detections: Sequence[Detections], novel: Sequence[str] = ()) -> Metrics:
    """Average precision of `detections` (one for each example, in order), in [0, 1]; None without objects to measure.

    `map`, `map_50`, `map_75`, `map_small`, `map_medium`, `map_large`: COCO's (Lin et al. 2014), for the 100 best
    detections of a class in an image. `map_all`, `map_50_all`: for all detections. `voc_map_50`: VOC 2007's 11-point AP
    at IoU 0.5 (see `voc_precision`), also for all. `ignored`: the number of crowds and difficult objects, which count
    neither for nor against a detector. `per_class`: `map`, `map_50`, `voc_ap_50` and `objects` by name.

    If `novel` names classes, also `base_`, `novel_` and `harmonic_` `map` and `map_50` (the last is the harmonic mean
    of the other two: Xian et al. 2017), and the names under `novel`. Means are over the classes that have objects.
    UserError for an unknown name in `novel`.
    """
    class_indices(novel, dataset.classes)  # a mistyped name must show at once, not after minutes
    return metrics(score(dataset, detections), novel)


def curves(scores: Scores) -> dict[str, Curve]:
    """The curve at IoU 0.5 of each class that has objects."""
    recall = np.linspace(0, 1, scores.precision.shape[1])
    return {
        name: Curve(recall, scores.precision[IOU_50, :, i, 0])
        for i, name in enumerate(scores.classes)
        if scores.precision[IOU_50, 0, i, 0] > -1
    }


def precision_recall(dataset: Dataset, detections: Sequence[Detections]) -> dict[str, Curve]:
    """As `curves`, straight from detections."""
    return curves(score(dataset, detections))


def harmonic_mean(a: float | None, b: float | None) -> float | None:
    """2ab / (a + b); 0 if both are 0, None if one is None."""
    if a is None or b is None:
        return None
    return 2 * a * b / (a + b) if a + b else 0.0


def table(figures: Metrics) -> str:
    """The `figures` of `evaluate_detections` as text, in percent; classes are sorted by falling AP50."""
    novel = set(figures.get("novel", ()))
    heads = [("AP", "map"), ("AP50", "map_50"), ("AP75", "map_75"), *((area, f"map_{area}") for area in AREAS)]
    lines = ["   ".join(f"{head} {_percent(figures[key])}" for head, key in (*heads, ("VOC AP50", "voc_map_50")))]
    if novel:
        groups = (("base", "base"), ("novel", "novel"), ("harmonic mean", "harmonic"))
        lines += [
            f"{title}: AP {_percent(figures[f'{key}_map'])}, AP50 {_percent(figures[f'{key}_map_50'])}"
            for title, key in groups
        ]
    every = f"AP {_percent(figures['map_all'])}, AP50 {_percent(figures['map_50_all'])}"
    lines.append(f"all detections, not only the best {MAX_PER_CLASS} of each class in an image: {every}")
    if figures["ignored"]:
        meaning = "crowds and difficult objects: neither misses nor false alarms"
        lines.append(f"ignored: {figures['ignored']} ({meaning})")
    names = {name: f"{name} (novel)" if name in novel else name for name in figures["per_class"]}
    width = max(map(len, [*names.values(), "class"]))
    lines += ["", f"{'class':{width}}  {'AP':>6}  {'AP50':>6}  {'VOC AP50':>8}  {'objects':>8}"]
    rows = figures["per_class"].items()
    for name, row in sorted(rows, key=lambda item: 1.0 if item[1]["map_50"] is None else -item[1]["map_50"]):
        cells = [f"{_percent(row[key]):>{size}}" for key, size in (("map", 6), ("map_50", 6), ("voc_ap_50", 8))]
        lines.append("  ".join([f"{names[name]:{width}}", *cells, f"{row['objects']:>8}"]))
    return "\n".join(lines)


def class_indices(names: Sequence[str], classes: Sequence[str]) -> list[int]:
    """The sorted indices of `names` in `classes`. UserError for a name that is not among them."""
    found = {name: find_class_index(name, classes) for name in names}
    for name, index in found.items():
        if index is None:
            raise UserError(f"there is no class {name!r} to be novel; the classes are {', '.join(classes)}")
    return sorted({index for index in found.values() if index is not None})


def _mean(values: Any) -> float | None:
    valid = np.asarray(values)[np.asarray(values) > -1]
    return float(valid.mean()) if valid.size else None


def _percent(share: float | None) -> str:
    return "—" if share is None else f"{100 * share:.1f}"
