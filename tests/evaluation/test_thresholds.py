"""The best F1, compared with a search over every threshold."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from remoteclip_jax.data.types import Annotations, Dataset
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.detector.thresholds import Thresholds, thresholds_of
from remoteclip_jax.evaluation import thresholds
from remoteclip_jax.evaluation.thresholds import best_f1, f1_at
from tests.evaluation.test_detection import LETTERS, detections, example, noisy, perfect, random_split


def iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / (float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared)


def counts(dataset: Dataset, found: Sequence[Detections], threshold: float, label: int | None = None) -> np.ndarray:
    """Right detections, detections and objects, of one class or of all, by greedy matching in plain loops."""
    result = np.zeros(3, np.int64)
    for truth, given in zip(perfect(dataset), found, strict=True):
        free = [i for i in range(len(truth)) if label in (None, truth.labels[i])]
        result[2] += len(free)
        for i in np.argsort(-given.scores, kind="stable"):
            if given.scores[i] < threshold or label not in (None, given.labels[i]):
                continue
            result[1] += 1
            mine = [j for j in free if truth.labels[j] == given.labels[i]]
            best = max(mine, key=lambda j: iou(given.boxes[i].astype(float), truth.boxes[j].astype(float)), default=-1)
            if best >= 0 and iou(given.boxes[i].astype(float), truth.boxes[best].astype(float)) >= 0.5:
                free.remove(best)
                result[0] += 1
    return result


def reference(dataset: Dataset, found: Sequence[Detections], label: int | None = None) -> tuple[float, float]:
    """The highest of the thresholds with the best F1, and that F1."""
    best = (0.0, -1.0)
    for threshold in np.unique(np.concatenate([given.scores for given in found]))[::-1].tolist():
        right, given, objects = counts(dataset, found, threshold, label).tolist()
        if given and (f1 := 2 * right / (given + objects)) > best[1]:
            best = (threshold, f1)
    return best


def with_informative_scores(found: Sequence[Detections], decimals: int, seed: int) -> list[Detections]:
    """Scores that are higher for what was not invented (see `noisy`), rounded so that many are equal."""
    rng = np.random.default_rng(seed)
    result = []
    for given in found:
        invented = np.arange(len(given)) >= len(given) - 2
        scores = np.clip(rng.normal(0.6, 0.2, len(given)) - 0.25 * invented, 0, 1).round(decimals).astype(np.float32)
        result.append(replace(given, scores=scores))
    return result


@pytest.mark.parametrize(("seed", "decimals"), [(0, 6), (1, 1), (2, 2)])
def test_as_every_threshold_tried(seed: int, decimals: int) -> None:
    dataset = random_split(seed, images=8, classes=LETTERS)
    found = with_informative_scores(noisy(dataset, seed), decimals, seed)
    best = best_f1(dataset, found)
    assert best is not None
    assert (best.overall, best.f1) == reference(dataset, found)
    assert f1_at(dataset, found, best.overall) == best.f1
    assert set(best.per_class) == set(LETTERS)
    for label, name in enumerate(LETTERS):
        assert best.per_class[name] == reference(dataset, found, label)[0]
    assert best.split == "val"


def test_by_class_where_there_are_enough_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = random_split(3, images=8, classes=LETTERS)
    found = with_informative_scores(noisy(dataset), 3, 3)
    objects = [sum(int((e.labels == label).sum()) for e in dataset.examples) for label in range(4)]
    monkeypatch.setattr(thresholds, "MIN_OBJECTS", sorted(objects)[2])
    best = best_f1(dataset, found)
    assert best is not None
    assert len(best.per_class) == 2
    assert all(objects[LETTERS.index(name)] >= sorted(objects)[2] for name in best.per_class)


def test_equal_scores_stay_together() -> None:
    """One of two detections of the same score is right: with only that one, F1 would be 1."""
    dataset = Dataset("val", ("a",), (example([[0, 0, 10, 10]], [0]),))
    found = [detections([[0, 0, 10, 10], [50, 50, 60, 60]], [0.5, 0.5], [0, 0], ("a",))]
    best = best_f1(dataset, found)
    assert best is not None
    assert (best.overall, best.f1) == (0.5, pytest.approx(2 / 3))


def test_nothing_to_find_or_nothing_found() -> None:
    empty, box = example([], []), [[0, 0, 10, 10]]
    nothing, something = detections([], [], [], ("a",)), detections(box, [0.9], [0], ("a",))
    of_empty, of_one = (Dataset("val", ("a",), (e,)) for e in (empty, example(box, [0])))
    for dataset, found in ((of_empty, something), (of_one, nothing), (of_empty, nothing)):
        assert best_f1(dataset, [found]) is None
    assert f1_at(of_empty, [nothing], 0.5) is None
    assert f1_at(of_empty, [something], 0.5) == f1_at(of_one, [nothing], 0.5) == f1_at(of_one, [something], 0.95) == 0
    elsewhere = detections([[50, 50, 60, 60]], [0.9], [0], ("a",))
    assert best_f1(of_one, [elsewhere]) is None


@pytest.mark.parametrize("kind", ["crowd", "difficult"])
def test_crowds_and_difficult_objects_count_neither_way(kind: str) -> None:
    """Beside an object there is one that is ignored: what lies on it is no false alarm, though its score is higher."""
    boxes = np.array([[0, 0, 10, 10], [50, 50, 20, 20]], np.float64)
    marks = {name: np.array([False, name == kind]) for name in ("crowd", "difficult")}
    labels = np.zeros(2, np.int32)
    annotated = Annotations("i.jpg", 100, 100, boxes, boxes[:, 2:].prod(1), labels, **marks)
    dataset = Dataset("val", ("a",), (replace(example([[0, 0, 10, 10]], [0]), annotations=annotated),))
    found = [detections([[0, 0, 10, 10], [50, 50, 70, 70]], [0.4, 0.8], [0, 0], ("a",))]
    best = best_f1(dataset, found)
    assert best is not None
    assert (best.overall, best.f1) == (pytest.approx(0.4), 1)


def test_thresholds_of_prompts() -> None:
    """Those of a class whatever its spelling, and the overall one for anything else."""
    fitted = Thresholds(0.4, 0.8, {"storagetank": 0.25}, "val")
    np.testing.assert_array_equal(thresholds_of(fitted, ["Storage tank", "ship"]), np.float32([0.25, 0.4]))
    np.testing.assert_array_equal(thresholds_of(None, ["ship"]), np.float32([0.3]))
    np.testing.assert_array_equal(thresholds_of(fitted, ["ship", "kiln"], ["kiln"]), np.float32([0.4, 0.3]))
    found = detections(np.zeros((4, 4)), [0.3, 0.3, 0.4, 0.1], [0, 1, 1, 0])
    kept = found.above(thresholds_of(fitted, ["storage-tank", "ship", "c", "d"]))
    np.testing.assert_array_equal(kept.scores, np.float32([0.3, 0.4]))
    assert len(found.above(0.3)) == 3
