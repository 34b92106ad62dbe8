"""The class head's fast logits against explicit features, the whitening, and the first values of the box head."""

from typing import Any

import jax
import numpy as np
import pytest

from remoteclip_jax.detector.heads import DIRECTIONS, MAX_GAIN, MAX_SCALE, BoxHead, ClassHead, fit_whitening

HEAD = ClassHead(width=12, embed_dim=40)


@pytest.fixture(scope="module")
def variables() -> Any:
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(HEAD.init, jax.random.key(0), queries(), texts(3))
    random = jax.tree.map(lambda s: rng.normal(0, 0.5, s.shape).astype(np.float32), shapes)
    directions = np.zeros((DIRECTIONS, 40), np.float32)
    directions[:3] = np.linalg.qr(rng.normal(size=(40, 3)))[0].T
    gains = np.array([0.3, 2.0, 0.0] + [1.0] * (DIRECTIONS - 3), np.float32)
    set_up = {"scale": np.float32(np.log(14)), "bias": np.float32(-3.0), "directions": directions, "gains": gains}
    return {"params": {**random["params"], **set_up}}


def queries() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, 7, 12)).astype(np.float32)


def texts(*shape: int) -> np.ndarray:
    t = np.random.default_rng(2).normal(size=(*shape, 40)).astype(np.float32)
    return t / np.linalg.norm(t, axis=-1, keepdims=True)


def cosines_of(variables: Any) -> jax.Array:
    return HEAD.apply(variables, *HEAD.apply(variables, queries(), method="states"), texts(3), method="cosines")


def test_features_are_of_unit_length(variables: Any) -> None:
    features = np.asarray(HEAD.apply(variables, queries(), method="features"))
    assert features.shape == (2, 7, 40)
    np.testing.assert_allclose(np.linalg.norm(features, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(features @ variables["params"]["directions"][2], 0, atol=1e-5)  # its gain is zero


def whitened(variables: Any, embeddings: np.ndarray) -> np.ndarray:
    head = variables["params"]
    matrix = np.eye(40) + (head["directions"].T * (head["gains"] - 1)) @ head["directions"]
    result = embeddings @ matrix
    return result / np.linalg.norm(result, axis=-1, keepdims=True)


def test_logits_are_scaled_cosines_of_the_features(variables: Any) -> None:
    features = np.asarray(HEAD.apply(variables, queries(), method="features"))
    cosines = np.einsum("nqe,ke->nqk", features, whitened(variables, texts(3)))
    np.testing.assert_allclose(cosines_of(variables), cosines, atol=1e-5)
    np.testing.assert_allclose(HEAD.apply(variables, queries(), texts(3)), 14 * cosines - 3, atol=1e-4)


def test_each_image_may_have_embeddings_of_its_own(variables: Any) -> None:
    features = np.asarray(HEAD.apply(variables, queries(), method="features"))
    own = texts(2, 3)
    expected = 14 * np.einsum("nqe,nke->nqk", features, whitened(variables, own)) - 3
    np.testing.assert_allclose(HEAD.apply(variables, queries(), own), expected, atol=1e-4)


def test_the_scale_is_bounded(variables: Any) -> None:
    steep = {"params": {**variables["params"], "scale": np.float32(9.0)}}
    cosines = np.asarray(cosines_of(variables))
    np.testing.assert_allclose(HEAD.apply(steep, queries(), texts(3)), MAX_SCALE * cosines - 3, rtol=1e-4, atol=1e-3)


def test_gradients_are_those_of_the_features(variables: Any) -> None:
    def short(variables: Any) -> jax.Array:
        return (cosines_of(variables) ** 2).sum()

    def explicit(variables: Any) -> jax.Array:
        distinct = HEAD.apply(variables, texts(3), method="whitened")
        return ((HEAD.apply(variables, queries(), method="features") @ distinct.T) ** 2).sum()

    ours, expected = jax.grad(short)(variables), jax.grad(explicit)(variables)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_a_query_of_nothing_is_finite(variables: Any) -> None:
    zero = jax.tree.map(np.zeros_like, variables)
    value, grads = jax.value_and_grad(lambda v: HEAD.apply(v, queries(), texts(3)).sum())(zero)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_first_logits_are_near_the_prior() -> None:
    variables = HEAD.init(jax.random.key(0), queries(), texts(3))
    logits = np.asarray(HEAD.apply(variables, queries(), texts(3)))
    bias = variables["params"]["bias"]
    assert 1 / (1 + np.exp(-bias)) == pytest.approx(HEAD.prior)
    assert np.abs(logits - bias).max() <= 14
    assert logits.dtype == np.float32


def test_whitening_evens_out_the_differences_of_prompts(variables: Any) -> None:
    """With a common direction, and two prompts that are nearly the same: all pairs become equally distant, and the
    common part as large as a difference."""
    alike = texts(5) * 0.3 + texts(6)[5]
    alike[4] = alike[3] + 0.05 * texts(7)[6]
    alike /= np.linalg.norm(alike, axis=-1, keepdims=True)
    head = fit_whitening(variables["params"], alike)
    distinct = np.asarray(HEAD.apply({"params": head}, alike, method="whitened"))
    np.testing.assert_allclose(np.linalg.norm(distinct, axis=-1), 1, rtol=1e-4)
    mean = alike.mean(0) / np.linalg.norm(alike.mean(0))
    common = distinct @ mean
    differences = distinct - common[:, None] * mean
    np.testing.assert_allclose(np.mean(common**2), np.mean((differences**2).sum(-1)), rtol=0.1)
    differences /= np.linalg.norm(differences, axis=-1, keepdims=True)
    between = (differences @ differences.T)[np.triu_indices(5, 1)]
    np.testing.assert_allclose(between, -1 / 4, atol=0.1)  # the corners of a simplex
    assert np.log(14) < head["scale"] <= np.log(MAX_SCALE) + 1e-5
    assert set(head) == set(variables["params"])


def test_gains_are_bounded(variables: Any) -> None:
    """A tiny difference is amplified only up to a bound, and a rounding error is not amplified at all."""
    for difference, largest in ((1e-2, MAX_GAIN), (1e-6, 2.0)):
        alike = np.concatenate([texts(4), texts(4)[3:] + difference * texts(5)[4:]])
        gains = np.asarray(
            fit_whitening(variables["params"], alike / np.linalg.norm(alike, axis=-1, keepdims=True))["gains"]
        )
        assert largest / 2 < gains.max() <= largest


def test_more_prompts_than_directions(variables: Any) -> None:
    head = fit_whitening(variables["params"], texts(3 * DIRECTIONS))
    assert head["directions"].shape == (DIRECTIONS, 40)
    for name in ("directions", "gains", "scale"):
        assert np.isfinite(np.asarray(head[name])).all(), name


def test_whitening_for_prompts_that_do_not_differ_changes_nothing(variables: Any) -> None:
    for same in (texts(1), np.repeat(texts(1), 3, 0)):
        assert fit_whitening(variables["params"], same) is variables["params"]


def test_the_box_head_starts_at_zero() -> None:
    head = BoxHead()
    delta = head.apply(head.init(jax.random.key(0), queries()), queries())
    assert delta.shape == (2, 7, 4)
    assert not np.asarray(delta).any()
