"""One-to-many assignment: every object gets positions, padding gets none, and all are near their object."""

from typing import Any

import numpy as np
import pytest

from remoteclip_jax.detector.assign import MAX_POSITIONS, RADIUS, assign
from remoteclip_jax.detector.config import STRIDES
from remoteclip_jax.detector.proposals import anchors
from tests.detector.small_model import quick

SIDE, CLASSES = 128, 4
SHAPES = [(SIDE // s, SIDE // s) for s in STRIDES]
ANCHORS = np.asarray(anchors(SHAPES))
STEPS = np.concatenate([np.full(h * w, s / SIDE, np.float32) for (h, w), s in zip(SHAPES, STRIDES, strict=True)])
fast = quick(lambda logits, predicted, *truth: assign(logits, predicted, SHAPES, *truth))


def predictions(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    boxes = ANCHORS * np.exp(rng.normal(0, 0.2, (n, len(ANCHORS), 4)))
    return rng.normal(-3, 1, (n, len(ANCHORS), CLASSES)).astype(np.float32), boxes.astype(np.float32)


def solve(boxes: Any, real: Any, seed: int = 0, labels: Any = None) -> tuple[np.ndarray, np.ndarray]:
    boxes, real = np.asarray(boxes, np.float32), np.asarray(real)
    labels = np.zeros(real.shape, np.int32) if labels is None else labels
    found, quality = fast(*predictions(seed, len(boxes)), boxes, labels, real)
    return np.asarray(found), np.asarray(quality)


def scattered(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images of up to nine objects, each in a cell of its own; which slots are real is random."""
    rng = np.random.default_rng(seed)
    cells = np.stack(np.meshgrid([0.17, 0.5, 0.83], [0.17, 0.5, 0.83]), -1).reshape(9, 2)
    centre = cells + rng.uniform(-0.05, 0.05, (4, 9, 2))
    boxes = np.concatenate([centre, rng.uniform(0.02, 0.3, (4, 9, 2))], -1).astype(np.float32)
    real = rng.random((4, 9)) < np.array([0.9, 0.5, 0.1, 0])[:, None]
    return np.where(real[..., None], boxes, 0.5), real, rng.integers(0, CLASSES, (4, 9)).astype(np.int32)


@pytest.mark.parametrize("seed", range(5))
def test_every_object_gets_positions_near_it_and_padding_gets_none(seed: int) -> None:
    boxes, real, labels = scattered(seed)
    found, quality = solve(boxes, real, seed, labels)
    for image in range(len(boxes)):
        counts = np.bincount(found[image][found[image] >= 0], minlength=9)
        assert (counts[real[image]] >= 1).all()
        assert (counts <= MAX_POSITIONS).all()
        assert not counts[~real[image]].any()
        for position in np.flatnonzero(found[image] >= 0):
            offset = np.abs(ANCHORS[position, :2] - boxes[image, found[image, position], :2])
            assert (offset <= RADIUS * STEPS[position]).all()
    assert ((quality >= 0) & (quality <= 1)).all()
    assert not quality[found < 0].any()
    assert not (found[3] >= 0).any()  # an image without objects


def test_a_good_box_gives_many_positions() -> None:
    """The number of positions is the sum of the IoUs: with perfect boxes it is the largest possible one."""
    box = np.array([0.5, 0.5, 0.3, 0.3], np.float32)
    logits, _ = predictions(0, 1)
    right = np.broadcast_to(box, (1, len(ANCHORS), 4))
    found, quality = fast(logits, right, box[None, None], np.zeros((1, 1), np.int32), np.ones((1, 1), bool))
    assert 8 <= (np.asarray(found) == 0).sum() <= MAX_POSITIONS
    np.testing.assert_allclose(np.asarray(quality)[np.asarray(found) == 0], 1, atol=1e-3)


ODD = {
    "upper left corner": [0.0, 0.0, 0.02, 0.02],
    "lower right corner": [1.0, 1.0, 0.02, 0.02],
    "border": [1.0, 0.41, 0.01, 0.1],
    "smaller than a stride": [0.4637, 0.3123, 0.01, 0.01],
    "between four positions": [0.5, 0.5, 0.005, 0.005],
    "the whole image": [0.5, 0.5, 1.0, 1.0],
    "no width": [0.3, 0.3, 0.0, 0.2],
    "a point": [0.7, 0.3, 0.0, 0.0],
    "a line across": [0.5, 0.2, 1.0, 0.004],
}


def test_odd_objects_get_a_position_too() -> None:
    boxes = np.array(list(ODD.values()), np.float32)[:, None]
    found, quality = solve(boxes, np.ones((len(ODD), 1), bool))
    assert np.isfinite(quality).all()
    for name, box, f in zip(ODD, boxes[:, 0], found, strict=True):
        positions = np.flatnonzero(f == 0)
        assert 1 <= len(positions) <= MAX_POSITIONS, name
        assert (np.abs(ANCHORS[positions, :2] - box[:2]) <= RADIUS * STEPS[positions, None]).all(), name


def test_a_position_goes_to_the_object_that_it_fits() -> None:
    """Two objects with the same centre and fitting predictions for each: none gets the other's positions."""
    boxes = np.array([[[0.5, 0.5, 0.1, 0.1], [0.5, 0.5, 0.5, 0.5]]], np.float32)
    logits, _ = predictions(0, 1)
    fine = STEPS < 0.2
    predicted = np.where(fine[:, None], boxes[0, 0], boxes[0, 1])[None]
    found, _ = fast(logits, predicted, boxes, np.zeros((1, 2), np.int32), np.ones((1, 2), bool))
    assert set(np.asarray(found)[0][fine]) == {-1, 0}
    assert set(np.asarray(found)[0][~fine]) == {-1, 1}


def test_assignment_is_the_same_in_any_order_of_objects() -> None:
    boxes, real, labels = scattered(9)
    found, _ = solve(boxes, real, 0, labels)
    order = np.random.default_rng(0).permutation(9)
    shuffled, _ = solve(boxes[:, order], real[:, order], 0, labels[:, order])
    np.testing.assert_array_equal(np.where(shuffled >= 0, order[shuffled], -1), found)
