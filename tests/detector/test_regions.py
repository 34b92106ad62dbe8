"""Scores of regions by a frozen tower: pooled as torchvision and the tower itself do it, for novel prompts alone."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torchvision

import remoteclip_jax as rc
from remoteclip_jax.clip.model import CLIP, one_tower
from remoteclip_jax.clip.preprocess import normalise
from remoteclip_jax.clip.resnet import AttentionPool
from remoteclip_jax.clip.text_embeddings import TextEmbeddings
from remoteclip_jax.detector.inference import find_in_squares
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.detector.postprocess import find_objects
from remoteclip_jax.detector.regions import (
    FROZEN,
    GRID,
    NOVEL_WEIGHT,
    SIZES,
    NovelPrompts,
    frozen_maps,
    pooled_regions,
    region_embeddings,
    with_region_scores,
)
from remoteclip_jax.tasks.detect.loading import without
from tests.detector.small_model import SMALL, TINY, quick, random_texts, random_variables


def frozen_tower(seed: int = 1) -> dict[str, Any]:
    """An image tower with random weights and statistics, as a run keeps it."""
    tower = one_tower(random_variables(SMALL, seed), "visual")
    return {**tower, "params": {**tower["params"], "logit_scale": jnp.log(20.0)}}


def test_regions_are_pooled_as_torchvision_does() -> None:
    """RoIAlign of the map, then the tower's own attention pool."""
    rng = np.random.default_rng(0)
    frozen, channels = frozen_tower(), 32 * TINY.vision_width
    maps = rng.normal(size=(2, 5, 7, channels)).astype(np.float32)
    corners = np.sort(rng.uniform(0, 1, (2, 6, 2, 2)), 2).reshape(2, 6, 4).astype(np.float32)
    corners[0, 0] = 0, 0, 1, 1
    boxes = np.concatenate([(corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]], -1)
    found = np.asarray(pooled_regions(TINY, frozen, jnp.asarray(maps), jnp.asarray(boxes)))
    both = region_embeddings(TINY, frozen, [jnp.asarray(maps), jnp.asarray(maps)], jnp.asarray(boxes))
    np.testing.assert_allclose(both, found, atol=1e-6)
    pixels = [torch.tensor(c * np.array([7, 5, 7, 5], np.float32)) for c in corners]
    aligned = torchvision.ops.roi_align(
        torch.tensor(maps.transpose(0, 3, 1, 2)), pixels, GRID, sampling_ratio=1, aligned=True
    )
    pool = AttentionPool(TINY.image_size // 32, TINY.vision_heads, TINY.embed_dim, jnp.float32)
    cells = jnp.asarray(aligned.numpy().transpose(0, 2, 3, 1))
    expected = np.asarray(pool.apply({"params": frozen["params"]["visual"]["attnpool"]}, cells)).reshape(2, 6, -1)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=-1, keepdims=True), atol=2e-5)


def test_the_maps_are_the_towers() -> None:
    """At each size, unless the image is smaller."""
    frozen, images = frozen_tower(), np.random.default_rng(1).integers(0, 255, (1, 96, 96, 3), np.uint8)
    (own,) = quick(lambda x: frozen_maps(TINY, frozen, normalise(x), jnp.float32))(images)
    features = quick(lambda x: CLIP(TINY).apply(frozen, normalise(x), method="features"))(images)
    np.testing.assert_allclose(own, features["c5"], atol=1e-4)
    shapes = jax.eval_shape(lambda x: frozen_maps(TINY, frozen, x, jnp.float32), jnp.zeros((2, 896, 896, 3)))
    assert [x.shape for x in shapes] == [(2, size // 32, size // 32, 32 * TINY.vision_width) for size in SIZES]


def test_the_score_of_a_novel_prompt_is_a_geometric_mean() -> None:
    """Of the largest score for any prompt, and of the prompt's probability for the region; other scores stay."""
    rng = np.random.default_rng(2)
    logits = rng.normal(-2, 2, (2, 5, 4)).astype(np.float32)
    logits[..., 3] = -np.inf  # padding
    regions, texts = rng.normal(size=(2, 5, 8)), rng.normal(size=(4, 8))
    regions, texts = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (regions, texts))
    novel = NovelPrompts(jnp.array([False, True, False, True]), jnp.array([True, True, False, True]))
    arrays = (jnp.asarray(x, jnp.float32) for x in (logits, regions, texts, 10.0))
    found = np.asarray(with_region_scores(*arrays, novel))
    np.testing.assert_array_equal(found[..., [0, 3]], logits[..., [0, 3]])
    assert (found[..., 2] == -np.inf).all()  # it was not asked for
    exponents = np.exp(10 * regions @ texts[:3].T)
    probability = exponents[..., 1] / exponents.sum(-1)
    objectness = (1 / (1 + np.exp(-logits[..., :3]))).max(-1)
    expected = objectness ** (1 - NOVEL_WEIGHT) * probability**NOVEL_WEIGHT
    np.testing.assert_allclose(1 / (1 + np.exp(-found[..., 1])), expected, rtol=1e-4)


def test_without_novel_prompts_the_frozen_tower_changes_nothing() -> None:
    variables, texts = random_variables(SMALL), random_texts(3)
    views = [np.random.default_rng(3).integers(0, 255, (1, size, size, 3), np.uint8) for size in (64, 96)]
    model = Detector(TINY, SMALL)
    plain = quick(lambda: find_objects(model, variables, views, texts, count=8))()
    with_tower = quick(lambda: find_objects(model, {**variables, FROZEN: frozen_tower()}, views, texts, count=8))()
    jax.tree.map(np.testing.assert_array_equal, plain, with_tower)
    novel = NovelPrompts(jnp.array([False, True, False]), jnp.array([True, True, False]))
    scored = quick(
        lambda: find_objects(model, {**variables, FROZEN: frozen_tower()}, views, texts, count=8, novel=novel)
    )()
    assert not np.array_equal(scored.scores, plain.scores)


def test_which_prompts_are_novel(detect_run: Path) -> None:
    """The trained classes that are not asked for follow the prompts."""
    detector = rc.load_detector(detect_run)
    detector = dataclasses.replace(detector, trained=without(detector.trained, ["wind mill"]))

    def novel(*names: str) -> tuple[tuple[str, ...], NovelPrompts | None]:
        texts, novel = detector.novel(
            TextEmbeddings(names, np.eye(len(names), detector.clip.embed_dim, dtype=np.float32))
        )
        assert len(texts.embeddings) == len(texts.class_names)
        return texts.class_names, novel

    assert novel("ship", "windmill") == (("ship", "windmill"), None)  # there is no frozen tower
    detector = dataclasses.replace(detector, variables={**detector.variables, FROZEN: {}})
    assert novel("ship", "Harbor") == (("ship", "Harbor"), None)
    names, found = novel("ship", "windmill", "red car")
    assert found is not None
    assert names == (
        "ship",
        "windmill",
        "red car",
        *(name for name in detector.classes if name not in ("ship", "windmill")),
    )
    assert found.mask.tolist() == [False, True, True, *[False] * 18]
    assert found.asked.tolist() == [*[True] * 3, *[False] * 18]
    elsewhere = dataclasses.replace(detector, classes=("red car",), embeddings=detector.embeddings[:1])
    names, _ = elsewhere.novel(TextEmbeddings(("red car",), detector.embeddings[:1]))
    assert names.class_names == ("red car", *(name for name in detector.classes if name != "windmill"))


def test_a_novel_prompt_has_the_same_score_alone_and_beside_trained_ones(detect_run: Path) -> None:
    """Alone it competes with the trained classes, too."""
    detector = rc.load_detector(detect_run)
    tower = one_tower(
        {"params": detector.variables["params"], "batch_stats": detector.variables["batch_stats"]}, "visual"
    )
    frozen = {
        "params": {**tower["params"], "logit_scale": np.float32(3)},
        "batch_stats": {"visual": tower["batch_stats"]["visual"]},
    }
    detector = dataclasses.replace(detector, variables={**detector.variables, FROZEN: frozen}, max_detections=20)
    texts = TextEmbeddings(detector.classes, detector.embeddings)
    trained = [name for name in texts.class_names if name not in ("ship", "harbor", "dam")]
    detector = dataclasses.replace(detector, trained=without(texts, trained))
    rows = [texts.class_names.index(name) for name in ("windmill", "ship", "harbor", "dam")]
    square = np.random.default_rng(4).integers(0, 255, (1, 64, 64, 3), np.uint8)

    def windmills(rows: list[int]) -> np.ndarray:
        asked = TextEmbeddings(tuple(texts.class_names[i] for i in rows), texts.embeddings[rows])
        found = find_in_squares(detector, [square], asked)
        return np.sort(np.asarray(found.scores)[np.asarray(found.valid) & (np.asarray(found.labels) == 0)])[::-1]

    alone, together = windmills(rows[:1]), windmills(rows)
    assert len(alone) > 0
    np.testing.assert_allclose(together, alone[: len(together)], rtol=1e-4)
