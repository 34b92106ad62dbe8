"""Matching against scipy's, with padding, ties, no objects, and costs that are not finite."""

from typing import Any

import jax
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.detector.matching_cost import class_cost, matching_cost
from remoteclip_jax.ops.matching import match

fast_match = jax.jit(match)
BATCH = 30


def solve(cost: np.ndarray, real: np.ndarray) -> np.ndarray:
    return np.asarray(fast_match(cost.astype(np.float32), real))


def check(cost: np.ndarray, real: np.ndarray, atol: float = 1e-3) -> None:
    """One query for one object, as many matches as possible, none with padding, and the same cost as scipy's."""
    for c, r, found in zip(cost, real, solve(cost, real), strict=True):
        queries = np.flatnonzero(found >= 0)
        objects = found[queries]
        assert len(set(objects)) == len(objects) == min(len(c), r.sum())
        assert r[objects].all()
        columns = np.flatnonzero(r)
        rows, chosen = linear_sum_assignment(c[:, columns])
        assert c[queries, objects].sum() == pytest.approx(c[rows, columns[chosen]].sum(), abs=atol)


def random_real(rng: np.random.Generator, m: int) -> np.ndarray:
    """From no objects to all slots, scattered, not only in front."""
    counts = np.concatenate([[0, 1, m], rng.integers(0, m + 1, BATCH - 3)])
    return np.stack([rng.permutation(m) < count for count in counts])


@pytest.mark.parametrize("shape", [(24, 7), (7, 24), (12, 12), (1, 1)])
def test_the_cost_is_minimal(shape: tuple[int, int]) -> None:
    q, m = shape
    rng = np.random.default_rng(q)
    real = random_real(rng, m)
    check(rng.normal(size=(BATCH, q, m)), real)
    check(rng.integers(0, 4, (BATCH, q, m)).astype(float), real)  # ties
    check(np.zeros((BATCH, q, m)), real)
    check(rng.exponential(size=(BATCH, q, m)) ** 4, real, atol=1e-2)  # a few are far more expensive than the others


def test_padding_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    cost, real = rng.normal(size=(BATCH, 24, 7)), random_real(rng, 7)
    other = np.where(real[:, None], cost, rng.normal(0, 50, cost.shape))
    np.testing.assert_array_equal(solve(cost, real), solve(other, real))


def test_images_without_objects() -> None:
    assert (solve(np.zeros((BATCH, 24, 7)), np.zeros((BATCH, 7), bool)) == -1).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_costs_that_are_no_numbers(bad: float) -> None:
    rng = np.random.default_rng(2)
    cost, real = rng.normal(size=(BATCH, 24, 7)), np.ones((BATCH, 7), bool)
    everywhere = solve(np.full_like(cost, bad), real)
    assert all(sorted(found[found >= 0]) == list(range(7)) for found in everywhere)
    # Ten queries have bad costs: the objects are matched with the others as well as possible.
    broken = cost.copy()
    broken[:, ::2][:, :10] = bad if bad > 0 or np.isnan(bad) else np.inf
    found = solve(broken, real)
    rest = np.setdiff1d(np.arange(24), np.arange(24)[::2][:10])
    assert (found[:, ::2][:, :10] == -1).all()
    for c, f in zip(cost, found, strict=True):
        queries = np.flatnonzero(f >= 0)
        rows, columns = linear_sum_assignment(c[rest])
        assert c[queries, f[queries]].sum() == pytest.approx(c[rest][rows, columns].sum(), abs=0.01)


def test_an_object_whose_costs_are_no_numbers_does_not_disturb_the_others() -> None:
    rng = np.random.default_rng(3)
    cost, real = rng.normal(size=(BATCH, 24, 7)), np.ones((BATCH, 7), bool)
    cost[:, :, 2] = np.nan
    others = [0, 1, 3, 4, 5, 6]
    for c, found in zip(cost, solve(cost, real), strict=True):
        queries = np.flatnonzero((found >= 0) & (found != 2))
        rows, columns = linear_sum_assignment(c[:, others])
        assert c[queries, found[queries]].sum() == pytest.approx(c[:, others][rows, columns].sum(), abs=0.02)


def problem(seed: int = 0) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(-2, 2, (2, 5, 4)).astype(np.float32)
    labels = rng.integers(0, 4, (2, 3)).astype(np.int32)
    boxes, truth = (rng.uniform(0.2, 0.5, (2, k, 4)).astype(np.float32) for k in (5, 3))
    return logits, boxes, truth, labels


def test_class_cost_is_that_of_deformable_detr() -> None:
    logits, _, _, labels = problem()
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    positive, negative = 0.25 * (1 - p) ** 2 * -np.log(p), 0.75 * p**2 * -np.log(1 - p)
    cost = class_cost(logits, labels)
    for i in range(2):
        np.testing.assert_allclose(cost[i], (positive - negative)[i][:, labels[i]], rtol=1e-4, atol=1e-6)


def test_a_class_that_is_never_predicted_is_never_cheap() -> None:
    logits = np.array([[[-np.inf, 3.0], [2.0, -3.0]]], np.float32)
    cost = np.asarray(class_cost(logits, np.array([[0, 1]], np.int32)))[0]
    assert not np.isnan(cost).any()
    assert cost[0, 0] > cost[1, 0]
    assert cost[0, 1] < cost[1, 1]


def test_each_term_counts_as_weighted() -> None:
    logits, boxes, truth, labels = problem()
    none = DetectorConfig(match_class=0, match_l1=0, match_giou=0)
    assert not np.asarray(matching_cost(logits, boxes, truth, labels, none)).any()
    l1 = matching_cost(logits, boxes, truth, labels, none.replace(match_l1=3))
    np.testing.assert_allclose(l1, 3 * np.abs(boxes[:, :, None] - truth[:, None]).sum(-1), rtol=1e-5)
    only_class = matching_cost(logits, boxes, truth, labels, none.replace(match_class=2))
    np.testing.assert_allclose(only_class, 2 * class_cost(logits, labels), rtol=1e-5)
    overlap = np.asarray(matching_cost(logits, boxes, boxes, labels[:, [0, 1, 2, 0, 1]], none.replace(match_giou=2)))
    for i in range(2):
        np.testing.assert_allclose(np.diag(overlap[i]), -2, atol=1e-4)  # each with itself
        assert (overlap[i] > -2 + 1e-3).sum() == 20
