"""Average precision of a split: COCO's figures by pycocotools, and VOC 2007's by its own rule.

`map` and its kin are comparable with anyone's: as in COCO, the 100 best detections of each class in an image count, and
no more. `map_all` and `map_50_all` count all that a detector kept.
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
from remoteclip_jax.evaluation.coco_ap import MOST, coco_precision
from remoteclip_jax.evaluation.truth import annotation, ignored
from remoteclip_jax.evaluation.voc import voc_precision

AREAS = ("small", "medium", "large")  # up to 32², up to 96², and more pixels of the annotated image
IOU_50, IOU_75 = 0, 5  # in pycocotools' thresholds 0.50, 0.55, …, 0.95

Metrics = dict[str, Any]


class Curve(NamedTuple):
    """Precision at the 101 recall points 0, 0.01, …, 1, interpolated as COCO does; its mean is the AP."""

    recall: Float[np.ndarray, "101"]
    precision: Float[np.ndarray, "101"]


@dataclass(frozen=True, eq=False)
class Scores:
    """One evaluation, from which `metrics` and `curves` are read. -1 stands where there is nothing to measure.

    `precision` has an axis each for IoU, recall, class and area (all, then `AREAS`); `every` is that of all detections,
    however many. `objects` are those that are to be found; `ignored` counts crowds and difficult objects.
    """

    classes: tuple[str, ...]
    objects: Int[np.ndarray, " k"]
    ignored: int
    precision: Float[np.ndarray, "10 101 k 4"]
    every: Float[np.ndarray, "10 101 k"]
    voc: Float[np.ndarray, " k"]


def score(dataset: Dataset, detections: Sequence[Detections]) -> Scores:
    """Match `detections` (one an example, in order) with the objects of `dataset`, by class and falling score."""
    precision = coco_precision(dataset, detections)
    objects, aside = np.zeros(len(dataset.classes), np.int64), 0
    for known in map(annotation, dataset.examples):
        objects += np.bincount(known.labels[~ignored(known)], minlength=len(objects))
        aside += int(ignored(known).sum())
    voc = voc_precision(dataset, detections)
    return Scores(dataset.classes, objects, aside, precision.best, precision.every, voc)


def metrics(scores: Scores, novel: Sequence[str] = ()) -> Metrics:
    """The figures of `evaluate_detections`."""
    unseen = np.array(indices(novel, scores.classes), np.int64)
    every, at_50 = scores.precision[..., 0], scores.precision[IOU_50, ..., 0]
    result: Metrics = {"map": _mean(every), "map_50": _mean(at_50), "map_75": _mean(scores.precision[IOU_75, ..., 0])}
    for area, name in enumerate(AREAS, 1):
        result[f"map_{name}"] = _mean(scores.precision[..., area])
    result |= {"map_all": _mean(scores.every), "map_50_all": _mean(scores.every[IOU_50])}
    result |= {"voc_map_50": _mean(scores.voc), "ignored": scores.ignored}
    result["per_class"] = {
        name: {
            "map": _mean(every[..., i]),
            "map_50": _mean(at_50[..., i]),
            "voc_ap_50": _mean(scores.voc[i]),
            "objects": int(scores.objects[i]),
        }
        for i, name in enumerate(scores.classes)
    }
    if novel:
        base = np.setdiff1d(np.arange(len(scores.classes)), unseen)
        for key, precision in (("map", every), ("map_50", at_50)):
            seen, unknown = _mean(precision[..., base]), _mean(precision[..., unseen])
            result |= {f"base_{key}": seen, f"novel_{key}": unknown, f"harmonic_{key}": harmonic_mean(seen, unknown)}
        result["novel"] = [scores.classes[i] for i in unseen]
    return result


def evaluate_detections(dataset: Dataset, detections: Sequence[Detections], novel: Sequence[str] = ()) -> Metrics:
    """AP of a split, in [0, 1], or None where there is no object to measure it on.

    `map`, `map_50`, `map_75`, `map_small`, `map_medium`, `map_large`: COCO's (Lin et al. 2014), of the 100 best
    detections of a class in an image; `map_all`, `map_50_all`: of all detections. `voc_map_50`: VOC 2007's 11-point AP
    at IoU 0.5 (see `voc_precision`), of all as well. `ignored`: how many crowds and difficult objects count neither
    for nor against. `per_class`: by name, `map`, `map_50`, `voc_ap_50` and `objects`. Where `novel` names classes,
    also `base_`, `novel_` and `harmonic_` `map` and `map_50` (Xian et al. 2017: the harmonic mean of the other two),
    and the names as `novel`. Means go over the classes that have objects. UserError for an unknown name in `novel`.
    """
    indices(novel, dataset.classes)  # a typing error must not show after minutes
    return metrics(score(dataset, detections), novel)


def curves(scores: Scores) -> dict[str, Curve]:
    """By class, for those that have objects, the curve at IoU 0.5."""
    recall = np.linspace(0, 1, scores.precision.shape[1])
    return {
        name: Curve(recall, scores.precision[IOU_50, :, i, 0])
        for i, name in enumerate(scores.classes)
        if scores.precision[IOU_50, 0, i, 0] > -1
    }


def precision_recall(dataset: Dataset, detections: Sequence[Detections]) -> dict[str, Curve]:
    """As `curves`, for those who want nothing else of the evaluation."""
    return curves(score(dataset, detections))


def harmonic_mean(a: float | None, b: float | None) -> float | None:
    """2ab / (a + b), 0 where both are 0, None where one is missing."""
    if a is None or b is None:
        return None
    return 2 * a * b / (a + b) if a + b else 0.0


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
    every = f"AP {_percent(figures['map_all'])}, AP50 {_percent(figures['map_50_all'])}"
    lines.append(f"all detections, and not the best {MOST} of each class in an image alone: {every}")
    if figures["ignored"]:
        told = "crowds and difficult objects, which are neither to be found nor false alarms"
        lines.append(f"ignored: {figures['ignored']} ({told})")
    names = {name: f"{name} (novel)" if name in novel else name for name in figures["per_class"]}
    width = max(map(len, [*names.values(), "class"]))
    lines += ["", f"{'class':{width}}  {'AP':>6}  {'AP50':>6}  {'VOC AP50':>8}  {'objects':>8}"]
    rows = figures["per_class"].items()
    for name, row in sorted(rows, key=lambda item: 1.0 if item[1]["map_50"] is None else -item[1]["map_50"]):
        cells = [f"{_percent(row[key]):>{size}}" for key, size in (("map", 6), ("map_50", 6), ("voc_ap_50", 8))]
        lines.append("  ".join([f"{names[name]:{width}}", *cells, f"{row['objects']:>8}"]))
    return "\n".join(lines)


def indices(names: Sequence[str], classes: Sequence[str]) -> list[int]:
    found = {name: find_class_index(name, classes) for name in names}
    for name, index in found.items():
        if index is None:
            raise UserError(f"no class {name!r} to call novel; the classes are {', '.join(classes)}")
    return sorted({index for index in found.values() if index is not None})


def _mean(values: Any) -> float | None:
    known = np.asarray(values)[np.asarray(values) > -1]
    return float(known.mean()) if known.size else None


def _percent(share: float | None) -> str:
    return "—" if share is None else f"{100 * share:.1f}"
