"""Geometry of boxes: against torch, under shifts and scales, and where boxes have no area."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from remoteclip_jax.ops.boxes import area, centres, clip_to_image, corners, giou, iou, pairwise, refine
from tests.detector.small_model import quick


def random_boxes(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.01, 0.5, (n, 2))
    return np.concatenate([rng.uniform(size / 2, 1 - size / 2), size], -1).astype(np.float32)


def torch_iou(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """IoU and GIoU of paired corners, as in torchvision's generalized_box_iou_loss."""
    low, high = torch.max(a[:, :2], b[:, :2]), torch.min(a[:, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    union = (a[:, 2:] - a[:, :2]).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1) - shared
    ratio = shared / (union + 1e-7)
    hull = (torch.max(a[:, 2:], b[:, 2:]) - torch.min(a[:, :2], b[:, :2])).prod(-1)
    return ratio, ratio - (hull - union) / (hull + 1e-7)


def test_corners_and_centres_are_inverses() -> None:
    boxes = random_boxes(100)
    np.testing.assert_allclose(centres(corners(boxes)), boxes, atol=1e-6)
    np.testing.assert_allclose(corners(np.array([0.5, 0.25, 0.2, 0.1])), [0.4, 0.2, 0.6, 0.3], atol=1e-7)


def test_overlaps_equal_torch() -> None:
    a, b = np.array(corners(random_boxes(500, 1))), np.array(corners(random_boxes(500, 2)))
    b[:50] = a[:50]
    b[50:100] = a[50:100] * 0.8 + 0.05  # most of these overlap much
    ratio, general = torch_iou(torch.from_numpy(a), torch.from_numpy(b))
    assert (ratio[50:] > 0.3).sum() > 20
    np.testing.assert_allclose(iou(a, b), ratio, atol=1e-4)
    np.testing.assert_allclose(giou(a, b), general, atol=1e-4)


def test_giou_gradient_equals_torch() -> None:
    a, b = np.array(corners(random_boxes(200, 3))), np.array(corners(random_boxes(200, 4)))
    leaf = torch.from_numpy(a).requires_grad_()
    torch_iou(leaf, torch.from_numpy(b))[1].sum().backward()
    ours = jax.grad(lambda x: giou(x, b).sum())(jnp.asarray(a))
    np.testing.assert_allclose(ours, leaf.grad, rtol=1e-3, atol=2e-3)


def test_overlaps_by_hand() -> None:
    a = jnp.array([0.0, 0.0, 0.2, 0.2])
    assert float(iou(a, a)) == pytest.approx(1, abs=1e-5)
    assert float(giou(a, a)) == pytest.approx(1, abs=1e-5)
    assert float(iou(a, jnp.array([0.1, 0.0, 0.3, 0.2]))) == pytest.approx(1 / 3, abs=1e-5)
    assert float(iou(a, jnp.array([0.5, 0.5, 0.6, 0.6]))) == 0
    assert float(giou(a, jnp.array([0.8, 0.8, 1.0, 1.0]))) == pytest.approx(-0.92, abs=1e-5)
    assert float(area(jnp.array([0.5, 0.5, 0.2, 0.9]))) == 0  # crossed


def test_pairwise_is_every_pair() -> None:
    a, b = np.asarray(corners(random_boxes(4, 5))), np.asarray(corners(random_boxes(7, 6)))
    for function in (iou, giou):
        table = np.asarray(pairwise(function, a, b))
        assert table.shape == (4, 7)
        for i in range(4):
            np.testing.assert_allclose(table[i], function(np.broadcast_to(a[i], (7, 4)), b), atol=1e-6)


DEGENERATE = {
    "no width": ([0.5, 0.5, 0.0, 0.2], [0.5, 0.5, 0.2, 0.2]),
    "no area": ([0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 0.2, 0.2]),
    "the same": ([0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2]),
    "both one point": ([0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]),
    "two points": ([0.2, 0.2, 0.0, 0.0], [0.7, 0.7, 0.0, 0.0]),
    "lines that meet": ([0.5, 0.5, 0.3, 0.0], [0.5, 0.5, 0.0, 0.3]),
    "crossed": ([0.5, 0.5, -0.2, 0.3], [0.5, 0.5, 0.2, 0.2]),
    "the whole image": ([0.5, 0.5, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0]),
    "one pixel of many": ([0.5, 0.5, 1e-4, 1e-4], [0.5, 0.5, 1e-4, 1e-4]),
}


@pytest.mark.parametrize("function", [iou, giou])
def test_degenerate_boxes_are_finite(function: Any) -> None:
    pairs = jnp.array(list(DEGENERATE.values()))
    terms = jax.vmap(jax.value_and_grad(lambda pair: function(corners(pair[0]), corners(pair[1]))))
    values, grads = quick(terms)(pairs)
    for name, value, grad in zip(DEGENERATE, np.asarray(values), np.asarray(grads), strict=True):
        assert np.isfinite(value), name
        assert np.isfinite(grad).all(), name
        assert -1.001 <= value <= 1.001, name


@pytest.mark.parametrize("function", [iou, giou])
def test_overlaps_do_not_change_under_shifts_and_scales(function: Any) -> None:
    a, b = np.asarray(corners(random_boxes(100, 7))), np.asarray(corners(random_boxes(100, 8)))
    expected = np.asarray(function(a, b))
    np.testing.assert_allclose(function(a + 0.3, b + 0.3), expected, atol=1e-3)
    np.testing.assert_allclose(function(a * 3, b * 3), expected, atol=1e-3)
    np.testing.assert_allclose(function(b, a), expected, atol=1e-5)


def test_no_change_is_the_identity() -> None:
    boxes = random_boxes(50)
    np.testing.assert_array_equal(refine(boxes, jnp.zeros((50, 4))), boxes)


def test_refined_boxes_stay_in_range() -> None:
    rng = np.random.default_rng(0)
    boxes = np.concatenate([random_boxes(200), np.zeros((5, 4), np.float32), np.ones((5, 4), np.float32)])
    refined = np.asarray(refine(boxes, rng.normal(0, 100, (210, 4)).astype(np.float32)))
    assert refined.min() >= 0
    assert refined.max() <= 1
    assert refined[:, 2:].min() > 0
    grads = jax.grad(lambda d: refine(boxes, d).sum())(jnp.full((210, 4), 50.0))
    assert np.isfinite(grads).all()


def test_refinement_moves_in_units_of_the_box() -> None:
    """The same delta does the same to a box wherever it is and however large."""
    box, delta = np.array([0.4, 0.4, 0.1, 0.2], np.float32), np.array([0.5, -0.25, 0.3, -0.3], np.float32)
    moved = np.asarray(refine(box, delta))
    np.testing.assert_allclose(moved[:2], [0.45, 0.35], atol=1e-6)
    np.testing.assert_allclose(moved[2:], box[2:] * np.exp(delta[2:]), rtol=1e-5)
    np.testing.assert_allclose(refine(box * 0.5, delta), moved * 0.5, rtol=1e-5)
    shift = np.array([0.2, 0.1, 0, 0], np.float32)
    np.testing.assert_allclose(refine(box + shift, delta), moved + shift, rtol=1e-5)


def test_boxes_are_clipped_at_the_border() -> None:
    boxes = jnp.array([[0.05, 0.5, 0.2, 0.2], [0.5, 0.5, 2.0, 0.1], [0.5, 0.5, 0.2, 0.2]])
    expected = [[0.075, 0.5, 0.15, 0.2], [0.5, 0.5, 1.0, 0.1], [0.5, 0.5, 0.2, 0.2]]
    np.testing.assert_allclose(clip_to_image(boxes), expected, atol=1e-6)
