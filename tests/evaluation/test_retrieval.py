"""Recall against a plain count over the whole matrix, and the memory that counting in blocks needs."""

import math

import jax
import numpy as np
import pytest

from remoteclip_jax.evaluation import retrieval
from remoteclip_jax.evaluation.retrieval import recalls_at_random, retrieval_metrics, retrieval_ranks

KEYS = [f"{way}_recall_{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)]


def plain(images: np.ndarray, texts: np.ndarray, owner: np.ndarray) -> dict[str, float]:
    """`retrieval_metrics` by its definition: what is tied with the right candidate stands before it."""
    unit = [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (images, texts)]
    similarity = unit[0] @ unit[1].T
    right = np.arange(len(images))[:, None] == owner
    result = {}
    for way, scores, is_right in (("image_to_text", similarity, right), ("text_to_image", similarity.T, right.T)):
        best = np.max(np.where(is_right, scores, -np.inf), -1, keepdims=True)
        before = np.sum(~is_right & (scores >= best), -1)
        for k in (1, 5, 10):
            result[f"{way}_recall_{k}"] = np.mean((before < k) & is_right.any(-1))
    return {**result, "mean_recall": np.mean(list(result.values()))}


def data(n: int, dimensions: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images and one to five texts of each, in any order. Coordinates are -1 and 1: many ties and copies."""
    rng = np.random.default_rng(seed)
    images = rng.choice([-1.0, 1.0], (n, dimensions)).astype(np.float32)
    owner = rng.permutation(np.repeat(np.arange(n), rng.integers(1, 6, n)))
    flips = rng.choice([1.0, -1.0], (len(owner), dimensions), p=[0.75, 0.25]).astype(np.float32)
    return images, images[owner] * flips, owner


@pytest.mark.parametrize(("n", "dimensions"), [(1, 4), (7, 4), (60, 16), (130, 64)])
@pytest.mark.parametrize("block", [16, 4096])
def test_equal_to_a_plain_count(n: int, dimensions: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "BLOCK", block)
    images, texts, owner = data(n, dimensions)  # lengths are powers of two, so similarities are exact in both
    assert retrieval_metrics(images, texts, owner) == pytest.approx(plain(images, texts, owner), abs=1e-12)


def test_embeddings_of_any_length() -> None:
    rng = np.random.default_rng(1)
    images = rng.normal(size=(50, 32))
    owner = np.repeat(np.arange(50), 3)
    texts = images[owner] + 2 * rng.normal(size=(150, 32))
    result = retrieval_metrics(images.astype(np.float32), (5 * texts).astype(np.float16), owner)
    assert list(result) == [*KEYS, "mean_recall"]
    assert result == pytest.approx(plain(images, texts, owner), abs=0.01)
    assert 0.2 < result["text_to_image_recall_1"] < 0.9


def test_any_of_an_images_captions_counts_once() -> None:
    images = np.eye(12, dtype=np.float32)
    texts = np.concatenate([images, np.roll(images, 1, 0)])  # image i has a text that fits, and one that fits i + 1
    metrics = retrieval_metrics(images, texts, np.tile(np.arange(12), 2))
    assert metrics["image_to_text_recall_1"] == 0  # the text of the image before fits as well
    assert metrics["image_to_text_recall_5"] == 1
    assert metrics["text_to_image_recall_1"] == 0.5


def test_ties_flatter_nobody() -> None:
    same, owner = np.ones((40, 8), np.float32), np.repeat(np.arange(40), 2)
    images, texts = retrieval_ranks(same, np.ones((80, 8), np.float32), owner)
    assert set(retrieval.recalls(images, texts).values()) == {0.0}
    chance = recalls_at_random(images, texts)
    assert chance["text_to_image_recall_10"] == pytest.approx(10 / 40)
    assert chance["image_to_text_recall_5"] == pytest.approx(1 - math.comb(78, 5) / math.comb(80, 5))
    for broken in (np.nan, 0.0):
        assert set(retrieval_metrics(broken * same, same[owner], owner).values()) == {0.0}


def test_without_ties_their_order_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    owner = np.repeat(np.arange(30), 4)
    ranks = retrieval_ranks(rng.normal(size=(30, 8)), rng.normal(size=(120, 8)), owner)
    assert recalls_at_random(*ranks) == pytest.approx(retrieval.recalls(*ranks), abs=1e-12)


def test_an_image_without_a_caption_is_a_miss_and_a_candidate() -> None:
    images = np.ones((4, 2), np.float32)
    images[2, 1] = 0.5
    metrics = retrieval_metrics(images, images[2:3], np.array([2]))
    assert metrics["image_to_text_recall_10"] == 0.25
    assert metrics["text_to_image_recall_1"] == 1


def test_indices_are_checked() -> None:
    one = np.ones((1, 2), np.float32)
    for owner in (-1, 1):
        with pytest.raises(ValueError, match="between 0 and 0"):
            retrieval_metrics(one, one, np.array([owner]))
    with pytest.raises(ValueError, match="needs both"):
        retrieval_metrics(one, one[:0], np.zeros(0, int))


def test_memory_and_programs_do_not_grow_with_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "BLOCK", 32)
    jax.clear_caches()
    for n in (40, 200):
        retrieval_metrics(*data(n))
    assert retrieval._compare._cache_size() == 1
    side = retrieval._side(np.ones((9, 16), np.float32), np.arange(9), np.ones(9, np.float32), 32)
    values = jax.make_jaxpr(retrieval._compare)(side, side)
    (call,) = values.eqns
    shapes = [variable.aval.shape for equation in call.params["jaxpr"].eqns for variable in equation.outvars]
    assert max(math.prod(shape) for shape in shapes) == 32 * 32
