"""DenoisingQueries objects as queries: where they come from, what they must answer, and who sees them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remoteclip_jax.detector.denoising import BOX_NOISE, make_denoising_queries
from remoteclip_jax.detector.model import DenoisingQueries
from tests.detector.small_model import SMALL, compiled, random_images, random_texts, random_variables

COUNT, CLASSES, SLOTS = 20, 6, 5
fast = jax.jit(make_denoising_queries, static_argnums=(4, 5))


@pytest.fixture(scope="module")
def objects() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """None, one, three in scattered slots, and all five real; small ones, one at the border, one without width."""
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(0.2, 0.8, (4, SLOTS, 2)), rng.uniform(0.01, 0.3, (4, SLOTS, 2))], -1)
    boxes[3, 0], boxes[3, 1] = [1.0, 0.0, 0.2, 0.2], [0.5, 0.5, 0.0, 0.1]
    real = np.array([[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], bool)
    return boxes.astype(np.float32), rng.integers(0, CLASSES, (4, SLOTS)).astype(np.int32), real


@pytest.fixture(scope="module")
def noised(objects: Any) -> tuple[DenoisingQueries, np.ndarray]:
    return make_noise(0, objects)


def make_noise(key: int, objects: Any, count: int = COUNT) -> tuple[DenoisingQueries, np.ndarray]:
    keys = jax.random.split(jax.random.key(key), len(objects[1]))
    return jax.tree.map(np.asarray, fast(keys, *objects, count, CLASSES))


def test_sources_and_groups(objects: Any, noised: tuple[DenoisingQueries, np.ndarray]) -> None:
    real = objects[2]
    (_, _, groups), sources = noised
    assert sources.shape == groups.shape == (4, COUNT)
    assert (sources[0] == -1).all()
    for i in (1, 2, 3):
        slots = np.flatnonzero(real[i])
        np.testing.assert_array_equal(groups[i], np.arange(COUNT) // len(slots))
        expected = slots[np.arange(COUNT) % len(slots)]
        np.testing.assert_array_equal(sources[i], np.where(groups[i] % 2 == 0, expected, -1))


def test_noised_boxes_are_boxes(noised: tuple[DenoisingQueries, np.ndarray]) -> None:
    boxes = noised[0].boxes
    assert np.isfinite(boxes).all()
    assert boxes[..., 2:].min() >= 1e-3
    assert (boxes[..., :2] - boxes[..., 2:] / 2).min() > -1e-3
    assert (boxes[..., :2] + boxes[..., 2:] / 2).max() < 1 + 1e-3
    assert ((noised[0].labels >= 0) & (noised[0].labels < CLASSES)).all()


def test_positives_stay_near_their_object_and_negatives_lie_farther(objects: Any) -> None:
    boxes, _, real = objects
    for i in (1, 2):
        slots = np.flatnonzero(real[i])
        positive, negative = [], []
        for key in range(10):
            noise, _ = make_noise(key, objects)
            truth = boxes[i, slots[np.arange(COUNT) % len(slots)]]
            moved = np.abs(noise.boxes[i] - truth)
            relative = moved / np.concatenate([truth[:, 2:] / 2, truth[:, 2:]], -1)
            positive.extend(relative[noise.groups[i] % 2 == 0])
            negative.extend(relative[noise.groups[i] % 2 == 1])
        assert np.max(positive) <= BOX_NOISE + 1e-3
        assert np.mean(negative) > 1.5 * np.mean(positive)
        assert np.mean(positive) > 0.3 * BOX_NOISE


def test_some_labels_are_replaced_at_random(objects: Any) -> None:
    labels = objects[1]
    same = [np.mean(make_noise(key, objects)[0].labels[1] == labels[1, 2]) for key in range(20)]
    assert 0.45 < np.mean(same) < 0.72  # half of them, and of the others a sixth by chance


def test_noise_follows_from_the_key(objects: Any, noised: tuple[DenoisingQueries, np.ndarray]) -> None:
    again, other = make_noise(0, objects), make_noise(1, objects)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(noised), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (other[0].boxes[1:] != noised[0].boxes[1:]).mean() > 0.9


def test_more_objects_than_queries() -> None:
    boxes = np.random.default_rng(1).uniform(0.2, 0.4, (1, 9, 4)).astype(np.float32)
    noise, sources = make_noise(0, (boxes, np.zeros((1, 9), np.int32), np.ones((1, 9), bool)), count=4)
    assert sources.tolist() == [[0, 1, 2, 3]]
    assert not noise.groups.any()


def with_noise(boxes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states and boxes of every layer for two images, with two groups of three noised queries."""
    noise = DenoisingQueries(jnp.asarray(boxes), jnp.asarray(labels), jnp.array([[0, 0, 0, 1, 1, 1]] * 2))
    images, texts = random_images(2), random_texts(6)
    outputs = compiled(SMALL)(random_variables(SMALL), images, texts, np.ones(6, bool), noise)
    return np.asarray(outputs.layers.hidden), np.asarray(outputs.layers.boxes)


def test_queries_see_no_noised_one_and_groups_not_each_other() -> None:
    rng = np.random.default_rng(2)
    boxes, labels = rng.uniform(0.2, 0.5, (2, 6, 4)).astype(np.float32), rng.integers(0, 6, (2, 6)).astype(np.int32)
    before = with_noise(boxes, labels)
    boxes[:, 3:], labels[:, 3:] = boxes[:, 3:] + 0.2, (labels[:, 3:] + 1) % 6
    after = with_noise(boxes, labels)
    queries = SMALL.queries
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(b[:, :, : queries + 3], a[:, :, : queries + 3], atol=1e-5)
        assert (np.abs(b - a)[:, :, queries + 3 :].max(-1) > 1e-3).all()
    boxes[:, 0] += 0.2  # within a group they do see each other
    within = with_noise(boxes, labels)
    assert (np.abs(within[0] - after[0])[-1, :, queries + 1 : queries + 3].max(-1) > 1e-5).all()
    np.testing.assert_allclose(within[0][:, :, queries + 3 :], after[0][:, :, queries + 3 :], atol=1e-5)
    # The queries are the same as in evaluation, without denoising queries.
    plain = compiled(SMALL)(random_variables(SMALL), random_images(2), random_texts(6), np.ones(6, bool))
    np.testing.assert_allclose(plain.layers.hidden[-1], before[0][-1, :, :queries], atol=1e-4)
