"""Merging the detections of several windows."""

import numpy as np
import pytest

from remoteclip_jax.data.tiling import SceneWindow
from remoteclip_jax.detector import merging
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.detector.merging import Collection, kept_in_window, suppressed


def random_boxes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Crowded boxes of all sizes, some of them equal, in order of falling score, and their labels."""
    rng = np.random.default_rng(seed)
    centres, sides = rng.uniform(0, 300, (count, 2)), np.exp(rng.uniform(0, 5, (count, 2)))
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1).astype(np.float32)
    near = rng.integers(0, count, count // 2)
    boxes[: count // 2] = boxes[near] + rng.normal(0, 1, (count // 2, 4)).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, :2], boxes[:, 2:])
    boxes[-3:] = boxes[:3]
    return boxes, rng.integers(0, 3, count).astype(np.int32)


def greedy(boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    keep = np.ones(len(boxes), bool)
    for i in range(len(boxes)):
        for j in range(i):
            if keep[j] and labels[i] == labels[j]:
                w, h = np.minimum(boxes[i, 2:], boxes[j, 2:]) - np.maximum(boxes[i, :2], boxes[j, :2])
                shared = max(0, w) * max(0, h)
                union = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (boxes[i], boxes[j])) - shared
                keep[i] &= not (union > 0 and shared / union > merging.SAME_OBJECT)
    return keep


@pytest.mark.parametrize("pairs", [1, 7, 10**6])
@pytest.mark.parametrize("count", [0, 1, 2, 200])
def test_suppression_is_greedy(count: int, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "PAIRS_AT_A_TIME", pairs)
    for seed in range(3):
        boxes, labels = random_boxes(count, seed) if count > 3 else (np.zeros((count, 4), np.float32), np.zeros(count))
        labels = labels.astype(np.int32)
        np.testing.assert_array_equal(suppressed(boxes, labels), greedy(boxes, labels))


def test_many_boxes_take_little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """50,000 boxes in a scene of 20,000 pixels: a hundredth of all pairs is compared."""
    compared = 0
    iou = merging._iou

    def counting(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        nonlocal compared
        compared += len(a)
        return iou(a, b)

    monkeypatch.setattr(merging, "_iou", counting)
    corners = np.random.default_rng(0).uniform(0, 20_000, (50_000, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + 40], 1)
    suppressed(boxes, np.zeros(len(boxes), np.int32))
    assert compared < 50_000**2 / 2 / 100


def test_the_best_come_first_and_classes_do_not_suppress_each_other() -> None:
    box = np.array([[10, 10, 20, 20]], np.float32)
    collection = Collection(("a", "b"))
    assert not collection
    assert len(collection.merged()) == 0
    for shift, score, label in ((0, 0.5, 0), (0.5, 0.7, 0), (0, 0.6, 1), (30, 0.9, 0)):
        part = Detections(box + shift, np.array([score], np.float32), np.array([label], np.int32), ("a", "b"))
        collection.add(part)
    found = collection.merged()
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert found.labels.tolist() == [0, 0, 1]
    many = Detections(
        np.tile(box, (5000, 1)), np.linspace(0, 1, 5000, dtype=np.float32), np.zeros(5000, np.int32), ("a",)
    )
    alone = Collection(("a",))
    alone.add(many)
    assert alone
    assert alone.merged().scores.tolist() == many.scores[::-1].tolist()  # a single window has suppressed its own
    alone.add(many)
    assert alone.merged().scores.tolist() == [1]


def test_a_window_keeps_its_own_objects_and_none_that_are_cut_off() -> None:
    window = SceneWindow(600, 0, 600, (675.0, 1125.0), (-np.inf, 525.0), (True, False, True, True), 20.0)
    boxes = np.array(
        [
            [800, 100, 840, 130],  # inside
            [800, 0, 840, 130],  # at the border of the image
            [600, 100, 780, 130],  # cut off on the left
            [610, 100, 640, 130],  # of the window to the left
            [640, 100, 700, 130],  # between both, up to the slack
            [800, 560, 840, 600],  # of the window below
            [800, 100, 810, 110],  # too small for this level
            [1000, 100, 1200, 130],  # cut off on the right
        ],
        np.float32,
    )
    assert kept_in_window(window, boxes).tolist() == [True, True, False, False, True, False, False, False]
