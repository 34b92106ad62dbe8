"""Detections from predictions: order, suppression, labels, and no detections where there are none."""

from typing import Any

import jax
import numpy as np
import pytest

from remoteclip_jax.data.views import size_ranges
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.detector.postprocess import SAME_OBJECT, BatchDetections, find_objects, postprocess
from tests.detector.small_model import SMALL, TINY, quick, random_texts, random_variables

fast = jax.jit(postprocess, static_argnums=2)


def process(logits: Any, boxes: Any, count: int = 10) -> BatchDetections:
    logits, boxes = np.asarray(logits, np.float32), np.asarray(boxes, np.float32)
    return BatchDetections(*map(np.asarray, fast(logits, boxes, count)))


def crowd(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Thirty queries on six objects."""
    rng = np.random.default_rng(seed)
    objects = np.concatenate([rng.uniform(0.2, 0.8, (6, 2)), rng.uniform(0.1, 0.3, (6, 2))], -1)
    boxes = objects[rng.integers(0, 6, (2, 30))] * np.exp(rng.normal(0, 0.05, (2, 30, 4)))
    return rng.normal(-2, 2, (2, 30, 4)), boxes


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    return sides.prod() / (sum((x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)) - sides.prod())


def test_best_first_and_none_twice() -> None:
    logits, boxes = crowd()
    found = process(logits, boxes, 20)
    assert found.boxes.shape == (2, 20, 4)
    assert found.scores.shape == found.labels.shape == found.valid.shape == (2, 20)
    for i in range(2):
        valid = found.valid[i]
        count = valid.sum()
        assert 6 <= count <= 20
        assert valid[:count].all()  # padding comes last
        assert (np.diff(found.scores[i, :count]) <= 0).all()
        for a in range(count):
            for b in range(a):
                if found.labels[i, a] == found.labels[i, b]:
                    assert overlap(found.boxes[i, a], found.boxes[i, b]) <= SAME_OBJECT + 1e-2  # clipped afterwards
        assert found.scores[i, 0] == pytest.approx(1 / (1 + np.exp(-logits[i].max())), rel=1e-5)
    assert ((found.boxes >= 0) & (found.boxes <= 1)).all()


def test_every_detection_is_what_some_query_said() -> None:
    logits, boxes = crowd(1)
    found = process(logits, boxes, 20)
    corners = np.concatenate([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1).clip(0, 1)
    scores = 1 / (1 + np.exp(-logits))
    for i, j in np.argwhere(found.valid):
        same = np.abs(corners[i] - found.boxes[i, j]).max(-1) < 1e-5
        assert np.abs(scores[i, same, found.labels[i, j]] - found.scores[i, j]).min() < 1e-5


def test_classes_are_suppressed_separately() -> None:
    """Three queries on one object: the second repeats the first, and the third predicts another class."""
    boxes = [[[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.19], [0.5, 0.5, 0.2, 0.2]]]
    logits = [[[2.0, -30.0, -30.0], [1.0, -30.0, -30.0], [-30.0, 0.0, -30.0]]]
    found = process(logits, boxes, 2)
    assert found.valid.tolist() == [[True, True]]
    assert found.labels.tolist() == [[0, 1]]
    np.testing.assert_allclose(found.scores, [[0.880797, 0.5]], rtol=1e-4)
    np.testing.assert_allclose(found.boxes[0, 0], [0.4, 0.4, 0.6, 0.6], atol=1e-6)


def test_a_query_may_be_two_things() -> None:
    found = process([[[2.0, 1.0]]], [[[0.5, 0.5, 0.2, 0.2]]])
    assert found.labels.tolist() == [[0, 1]]
    assert found.valid.all()


def test_padded_prompts_are_never_found() -> None:
    logits, boxes = crowd(2)
    padded = np.concatenate([logits, np.full((2, 30, 3), -np.inf)], -1)
    alone, found = process(logits, boxes, 100), process(padded, boxes, 100)
    assert (found.labels[found.valid] < 4).all()
    for i in range(2):
        np.testing.assert_array_equal(found.boxes[i][found.valid[i]], alone.boxes[i][alone.valid[i]])
        np.testing.assert_array_equal(found.labels[i][found.valid[i]], alone.labels[i][alone.valid[i]])


def test_nothing_at_all() -> None:
    _, boxes = crowd()
    for low in (-np.inf, -500.0):
        found = process(np.full((2, 30, 4), low), boxes)
        assert not found.valid.any()
        assert np.isfinite(found.boxes).all()
        assert not found.scores.any()


def test_boxes_beyond_the_border_are_clipped() -> None:
    found = process([[[3.0]]], [[[0.0, 0.9, 0.4, 0.4]]])
    np.testing.assert_allclose(found.boxes[0, 0], [0, 0.7, 0.2, 1], atol=1e-6)


@pytest.mark.parametrize("count", [1, 30, 80])
def test_an_image_gets_as_many_as_asked_for(count: int) -> None:
    """Although the detector by itself has only eight queries."""
    model, images = Detector(TINY, SMALL), np.zeros((2, 64, 64, 3), np.uint8)
    variables, texts = random_variables(SMALL), random_texts(3)
    found = jax.eval_shape(lambda view: find_objects(model, variables, [view], texts, count=count), images)
    assert found.boxes.shape == (2, count, 4)


def test_every_view_answers_for_its_own_sizes() -> None:
    """The same images in two sizes: both together find what each one alone finds in its own range of sizes."""
    # With these weights there are boxes for either view.
    model, variables, texts = Detector(TINY, SMALL), random_variables(SMALL, seed=3), random_texts(3)
    rng = np.random.default_rng(0)
    views = [rng.integers(0, 256, (2, size, size, 3), np.uint8) for size in (64, 128)]
    find = quick(lambda *views: find_objects(model, variables, views, texts, count=20))
    found = jax.tree.map(np.asarray, find(*views))
    assert found.valid.sum() > 8
    alone = [jax.tree.map(np.asarray, find(view)) for view in views]
    views_found = set()
    for i, j in np.argwhere(found.valid):
        box = found.boxes[i, j]
        sources = [np.abs(one.boxes[i] - box).max(-1) < 1e-5 for one in alone]
        view = next((v for v, same in enumerate(sources) if same.any()), None)
        if view is None:  # in its own view, a larger box had suppressed it
            continue
        low, high = size_ranges((64, 128))[view]
        size = np.sqrt((box[2:] - box[:2]).prod())
        if (box > 0).all() and (box < 1).all():  # not clipped
            assert low - 1e-5 <= size < high + 1e-5
        views_found.add(view)
    assert views_found == {0, 1}
