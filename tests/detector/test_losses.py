"""Each term against its formula, and the whole loss, with finite gradients, for all kinds of batches."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.detector.losses import (
    box_terms,
    classification_loss,
    contrast_losses,
    focal_parts,
    presence_loss,
    varifocal_loss,
    without_truth,
)
from remoteclip_jax.detector.model import Detector, Predictions
from remoteclip_jax.detector.supervision import Truth, detection_loss, match_layers
from tests.detector.small_model import SMALL, TINY, quick, random_images, random_texts, random_variables


def logits_and_targets() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = np.concatenate([rng.normal(0, 3, (40, 5)), np.full((2, 5), 60.0), np.full((2, 5), -60.0)])
    return logits.astype(np.float32), (rng.random((44, 5)) < 0.3).astype(np.float32)


def test_focal_equals_the_formula_in_torch() -> None:
    logits, target = logits_and_targets()
    x, t = torch.from_numpy(logits), torch.from_numpy(target)
    p = torch.sigmoid(x)
    right = p * t + (1 - p) * (1 - t)
    expected = F.binary_cross_entropy_with_logits(x, t, reduction="none") * (1 - right) ** 2
    positive, negative = focal_parts(logits)
    ours = np.where(target > 0, positive, negative)
    np.testing.assert_allclose(ours, (0.25 * t + 0.75 * (1 - t)) * expected, rtol=1e-4, atol=1e-6)


def test_cross_entropy_equals_torch() -> None:
    logits, _ = logits_and_targets()
    labels = np.random.default_rng(1).integers(-1, 5, 44)
    target = torch.from_numpy(np.eye(6, 5, dtype=np.float32)[labels])  # the last row, for -1, is of zeros
    expected = F.binary_cross_entropy_with_logits(torch.from_numpy(logits), target, reduction="none").sum(-1)
    loss = classification_loss("bce", logits[None], labels[None], np.ones((1, 44), np.float32))[0]
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-5)


def test_varifocal_equals_the_formula_in_torch() -> None:
    logits, target = logits_and_targets()
    target *= np.random.default_rng(1).uniform(0.1, 1, target.shape).astype(np.float32)
    x, t = torch.from_numpy(logits), torch.from_numpy(target)
    weight = t * (t > 0) + 0.75 * torch.sigmoid(x) ** 2 * (t <= 0)
    expected = F.binary_cross_entropy_with_logits(x, t, reduction="none") * weight
    np.testing.assert_allclose(varifocal_loss(logits, target), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["quality", "bce", "varifocal"])
def test_padded_prompts_cost_nothing(kind: str) -> None:
    logits = np.random.default_rng(2).normal(0, 2, (2, 6, 4)).astype(np.float32)
    labels = np.array([[0, 1, 2, 3, -1, -1]] * 2)
    quality = np.linspace(0, 1, 12, dtype=np.float32).reshape(2, 6)
    padded = np.concatenate([logits, np.full((2, 6, 3), -np.inf, np.float32)], -1)
    function = quick(jax.value_and_grad(lambda x: classification_loss(kind, x, labels, quality).sum()))
    (expected, grad), (loss, padded_grad) = function(logits), function(padded)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(padded_grad, np.pad(grad, ((0, 0), (0, 0), (0, 3))), atol=1e-6)


@pytest.mark.parametrize("kind", ["quality", "bce", "varifocal"])
def test_every_query_counts_in_the_class_loss(kind: str) -> None:
    """A query without an object learns to say so; one with an object learns its class and no other."""
    logits = np.zeros((1, 2, 3), np.float32)
    labels, quality = np.array([[1, -1]]), np.full((1, 2), 0.8, np.float32)
    grad = np.asarray(jax.grad(lambda x: classification_loss(kind, x, labels, quality).sum())(logits))[0]
    assert np.sign(grad).tolist() == [[1, -1, 1], [1, 1, 1]]


@pytest.mark.parametrize("kind", ["quality", "varifocal"])
def test_the_score_is_pulled_to_the_quality(kind: str) -> None:
    quality = np.array([[0.7, 0.7]], np.float32)
    logits = np.log(np.array([[[0.8], [0.6]]], np.float32) / np.array([[[0.2], [0.4]]], np.float32))
    labels = np.zeros((1, 2), int)
    grad = np.asarray(jax.grad(lambda x: classification_loss(kind, x, labels, quality).sum())(logits))[0, :, 0]
    assert grad[0] > 0 > grad[1]
    through = jax.grad(lambda q: classification_loss(kind, logits, labels, q).sum())(quality)
    assert not np.asarray(through).any()  # the class loss must not make boxes worse


def test_box_terms() -> None:
    boxes = jnp.array([[0.5, 0.5, 0.2, 0.2], [0.2, 0.2, 0.1, 0.1], [0.1, 0.1, 0.2, 0.2]])
    truth = jnp.array([[0.5, 0.5, 0.2, 0.2], [0.3, 0.2, 0.1, 0.1], [0.9, 0.9, 0.2, 0.2]])
    l1, overlap, quality = box_terms(boxes, truth)
    np.testing.assert_allclose(l1, [0, 0.1, 1.6], atol=1e-6)
    np.testing.assert_allclose(overlap, [0, 1, 1.92], atol=1e-4)
    np.testing.assert_allclose(quality, [1, 0, 0], atol=1e-4)


def test_what_is_in_the_image_is_taken_from_its_context() -> None:
    texts = random_texts(6)
    texts[1] = 0.95 * texts[0] + 0.05 * texts[1]  # CLIP's prompts are alike
    texts /= np.linalg.norm(texts, axis=-1, keepdims=True)
    context = random_texts(4, seed=1) + texts[:4]
    context /= np.linalg.norm(context, axis=-1, keepdims=True)
    present = np.zeros((4, 6), bool)
    present[0, 0] = present[1, [1, 3]] = present[2] = True  # one, two, all, none
    result = np.asarray(without_truth(context, texts, present))
    np.testing.assert_allclose(np.linalg.norm(result, axis=-1), 1, rtol=1e-4)
    assert np.abs((result @ texts.T)[present]).max() < 0.01
    np.testing.assert_allclose(result[3], context[3], atol=1e-5)
    assert np.abs((result @ texts.T)[0, 2:]).max() > 0.01  # what is not in the image stays


def test_contrast_is_a_cross_entropy_over_the_prompts_and_the_context() -> None:
    rng = np.random.default_rng(3)
    cosines = rng.uniform(-1, 1, (2, 7, 5)).astype(np.float32)
    labels = rng.integers(-1, 4, (2, 7))
    matched, unmatched = (np.asarray(x) for x in contrast_losses(cosines, labels, 0.07))
    likelihood = F.log_softmax(torch.from_numpy(cosines) / 0.07, -1).numpy()
    for i in np.ndindex(2, 7):
        if labels[i] >= 0:
            assert matched[i] == pytest.approx(-likelihood[i][labels[i]], rel=1e-4, abs=1e-5)
            assert unmatched[i] == 0
        else:
            assert matched[i] == 0
            assert unmatched[i] == pytest.approx(1 - cosines[i][-1], rel=1e-5)


def test_the_context_column_counts() -> None:
    cosines = np.zeros((1, 2, 4), np.float32)
    labels = np.array([[1, -1]])
    grad = np.asarray(jax.grad(lambda x: sum(part.sum() for part in contrast_losses(x, labels, 0.07)))(cosines))[0]
    assert np.sign(grad).tolist() == [[1, -1, 1, 1], [0, 0, 0, -1]]  # pushed from the context; pulled to it


# The whole loss: two images of 64 pixels, eight slots, five classes.
CLASSES, SLOTS = 5, 8
FILM = SMALL.replace(layers=1, class_loss="varifocal")
PLAIN = SMALL.replace(layers=1, gating="none", train_norm=False, denoising=0, dense=0.0)


@cache
def loss_and_gradients(config: DetectorConfig, of: str | None = None) -> Any:
    """The loss as a function of parameters, statistics and the truth, with the gradients of all parameters, or of
    the image tower's module `of`, which is far less to compile."""
    model = Detector(TINY, config)

    def loss(chosen: Any, params: Any, batch_stats: Any, truth: Truth) -> Any:
        params = {**params, "visual": {**params["visual"], of: chosen}} if of else chosen
        variables = {"params": params, "batch_stats": batch_stats}
        texts = jnp.asarray(random_texts(CLASSES))
        return detection_loss(model, variables, random_images(2), texts, truth, jax.random.key(0), None)

    return quick(jax.value_and_grad(loss, has_aux=True))


def evaluate(
    config: DetectorConfig, truth: Truth, of: str | None = None, variables: Any = None
) -> tuple[float, dict[str, float], Any, Any]:
    """The loss, its parts, the gradients and the new statistics."""
    variables = variables or random_variables(config)
    params, batch_stats = variables["params"], variables["batch_stats"]
    chosen = params["visual"][of] if of else params
    (loss, (parts, stats)), grads = loss_and_gradients(config, of)(chosen, params, batch_stats, truth)
    return float(loss), {name: float(value) for name, value in parts.items()}, grads, stats


def some_truth(counts: tuple[int, int], labels: Any = None) -> Truth:
    rng = np.random.default_rng(4)
    size = rng.uniform(0.1, 0.4, (2, SLOTS, 2))
    boxes = np.concatenate([rng.uniform(size / 2, 1 - size / 2), size], -1).astype(np.float32)
    real = np.arange(SLOTS) < np.array(counts)[:, None]
    boxes[~real] = 0.5
    labels = rng.integers(0, CLASSES, (2, SLOTS)) if labels is None else np.full((2, SLOTS), labels)
    return Truth(boxes, np.where(real, labels, 0).astype(np.int32), real)


def degenerate() -> Truth:
    truth = some_truth((7, 8))
    truth.boxes[0, :3] = [[0.5, 0.5, 0.0, 0.2], [0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 1.0, 1.0]]
    truth.boxes[0, 3:5] = [[0.0, 0.0, 0.1, 0.1], [1.0, 1.0, 0.1, 0.1]]
    truth.boxes[1] = truth.boxes[1, 0]  # eight times the same object
    return truth


BATCHES = {
    "ordinary": some_truth((3, 5)),
    "no objects at all": some_truth((0, 0)),
    "one image without objects": some_truth((0, 4)),
    "all slots full": some_truth((SLOTS, SLOTS)),
    "one class": some_truth((4, 4), labels=2),
    "degenerate boxes": degenerate(),
}


def largest(tree: Any) -> dict[str, float]:
    """The largest value of each array, by path; NaN where there is one."""
    return {
        jax.tree_util.keystr(path): float(np.abs(value).max())
        for path, value in jax.tree_util.tree_leaves_with_path(tree)
    }


@pytest.mark.parametrize("name", BATCHES)
def test_the_loss_and_its_gradients_are_finite(name: str) -> None:
    loss, parts, grads, stats = evaluate(FILM, BATCHES[name])
    assert np.isfinite(loss)
    assert loss > 0
    for part, value in (parts | largest(grads) | largest(stats)).items():
        assert np.isfinite(value), part
    if not BATCHES[name].real.any():
        assert parts["l1_loss"] == parts["giou_loss"] == parts["contrast_loss"] == 0
        assert parts["class_loss"] > 0


def test_every_parameter_learns() -> None:
    grads = largest(evaluate(FILM, BATCHES["ordinary"])[2])
    # Constants, and the keys' bias of the attention pool, which shifts all scores of its single query alike.
    head = [f"['class_head']['{name}']" for name in ("directions", "gains")]
    still = [*head, "['visual']['attnpool']['k_proj']['bias']"]
    assert [name for name, value in grads.items() if value == 0] == still


def test_an_unmatched_query_on_an_object_is_that_object_too() -> None:
    boxes = np.tile(np.array([0.5, 0.5, 0.2, 0.2], np.float32), (1, 4, 1))
    boxes[0, 1, 0], boxes[0, 2, 0], boxes[0, 3] = 0.51, 0.6, 0.1  # nearly the same, half of it, elsewhere
    truth = Truth(boxes[:, :2] * [[[1], [0]]], np.zeros((1, 2), np.int32), np.array([[True, False]]))
    one_layer = Predictions(*(jnp.asarray(x)[None] for x in (np.zeros((1, 4, 3)), boxes, *[np.zeros((1, 4, 1))] * 2)))
    assert np.asarray(match_layers(SMALL, one_layer, truth)[0]).tolist() == [[0, 0, -1, -1]]
    assert np.asarray(match_layers(SMALL.replace(match_overlap=2.0), one_layer, truth)[0]).tolist() == [[0, -1, -1, -1]]


def test_what_stands_in_padded_slots_does_not_matter() -> None:
    truth = BATCHES["ordinary"]
    boxes = np.where(truth.real[..., None], truth.boxes, 0.3).astype(np.float32)
    other = Truth(boxes, np.where(truth.real, truth.labels, 4).astype(np.int32), truth.real)
    for a, b in zip(evaluate(FILM, truth)[1].values(), evaluate(FILM, other)[1].values(), strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def test_the_context_is_a_negative_and_learns_nothing_from_it() -> None:
    """Without gating and presence the attention pool is used only by the contrast: other weights there change the
    contrast and nothing else, and get no gradient."""
    config = PLAIN.replace(presence=0.0)
    variables = random_variables(config)
    _, parts, grads, _ = evaluate(config, BATCHES["ordinary"], "attnpool", variables)
    assert not any(largest(grads).values())
    other = random_variables(config, seed=1)["params"]["visual"]["attnpool"]
    params = {**variables["params"], "visual": {**variables["params"]["visual"], "attnpool": other}}
    _, changed, _, _ = evaluate(config, BATCHES["ordinary"], "attnpool", {**variables, "params": params})
    for name in parts:
        same = changed[name] == pytest.approx(parts[name], rel=1e-5)
        assert same is (name not in ("contrast_loss", "background_loss")), name


def test_the_context_learns_from_the_gating_and_from_what_is_in_the_image() -> None:
    for config in (FILM.replace(presence=0.0), PLAIN):
        gradients = largest(evaluate(config, BATCHES["ordinary"])[2]["visual"]["attnpool"])
        assert all(value > 0 for name, value in gradients.items() if "k_proj" not in name)


def test_presence_is_the_cross_entropy_with_all_that_is_in_the_image() -> None:
    similarity = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    present = np.array([[0, 1, 0, 0, 0], [1, 0, 0, 1, 0], [0, 0, 0, 0, 0]], bool)
    likelihood = np.log(np.exp(similarity) / np.exp(similarity).sum(-1, keepdims=True))
    expected = [-likelihood[0, 1], -likelihood[1, [0, 3]].mean() - np.log(2), 0]
    np.testing.assert_allclose(presence_loss(similarity, present), expected, rtol=1e-5)


def test_statistics_of_the_image_tower_move_only_where_they_train() -> None:
    for config, of in ((FILM, None), (PLAIN, "attnpool")):
        variables = random_variables(config)
        stats = evaluate(config, BATCHES["ordinary"], of, variables)[3]
        for part in stats:
            moved = largest(jax.tree.map(lambda a, b: np.asarray(a) - b, stats[part], variables["batch_stats"][part]))
            expected = part != "visual" or config.train_norm
            assert all((value > 0) is expected for value in moved.values()), part
