"""Suppression in parallel against the plain greedy loop."""

import jax
import numpy as np
import pytest

from remoteclip_jax.ops.suppression import nms_mask

fast = jax.jit(nms_mask, static_argnums=2)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return sides.prod() / (sum(areas) - sides.prod() + 1e-9)


def greedy(boxes: np.ndarray, threshold: float, labels: np.ndarray | None = None) -> np.ndarray:
    keep: list[int] = []
    for i, box in enumerate(boxes):
        others = [j for j in keep if labels is None or labels[i] == labels[j]]
        if all(overlap(box, boxes[j]) <= threshold for j in others):
            keep.append(i)
    return np.isin(np.arange(len(boxes)), keep)


def crowd(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clusters of boxes, sorted by score."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.6, (3, 6, 2))[:, rng.integers(0, 6, n)] + rng.normal(0, 0.03, (3, n, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.1, 0.3, (3, n, 2))], -1).astype(np.float32)
    return boxes, -np.sort(-rng.random((3, n)).astype(np.float32)), rng.integers(0, 3, (3, n)).astype(np.int32)


@pytest.mark.parametrize("threshold", [0.3, 0.6])
@pytest.mark.parametrize("labelled", [False, True])
def test_what_is_kept_is_what_a_greedy_loop_keeps(threshold: float, labelled: bool) -> None:
    for seed in range(5):
        boxes, scores, labels = crowd(60, seed)
        keep = np.asarray(fast(boxes, scores, threshold, labels if labelled else None))
        for i in range(3):
            expected = greedy(boxes[i], threshold, labels[i] if labelled else None)
            np.testing.assert_array_equal(keep[i], expected)
            assert expected[0]
            assert 3 < expected.sum() < 58


def test_a_chain_keeps_every_second_box() -> None:
    """Each box suppresses the next one alone: the longest chain of suppressions that there can be."""
    low = 0.01 * np.arange(40)
    boxes = np.stack([low, np.zeros(40), low + 0.025, np.ones(40)], -1)[None].astype(np.float32)
    scores = np.linspace(1, 0.1, 40, dtype=np.float32)[None]
    np.testing.assert_array_equal(fast(boxes, scores, 0.4)[0], np.arange(40) % 2 == 0)


def test_classes_do_not_suppress_each_other() -> None:
    boxes = np.tile(np.array([0.1, 0.1, 0.4, 0.4], np.float32), (1, 4, 1))
    scores = np.array([[0.9, 0.8, 0.7, 0.6]], np.float32)
    assert np.asarray(fast(boxes, scores, 0.5, np.array([[0, 1, 0, 2]])))[0].tolist() == [True, True, False, True]
    assert np.asarray(fast(boxes, scores, 0.5))[0].tolist() == [True, False, False, False]


def test_boxes_without_area_suppress_nothing() -> None:
    boxes = np.full((1, 5, 4), 0.5, np.float32)
    assert np.asarray(fast(boxes, np.ones((1, 5), np.float32), 0.5)).all()
