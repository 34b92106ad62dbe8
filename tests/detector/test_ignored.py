"""In crowds and difficult objects a detector learns nothing about their class, and everything else as usual."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remoteclip_jax.detector.losses import classification_loss, presence_loss
from remoteclip_jax.detector.supervision import Truth, _ignored

LOGITS = np.random.default_rng(0).normal(size=(1, 4, 3)).astype(np.float32)
# Of four queries two have their centres in an ignored box of class 1.
BOXES = np.array([[[0.3, 0.3, 0.1, 0.1], [0.45, 0.2, 0.3, 0.3], [0.6, 0.3, 0.5, 0.5], [0.9, 0.9, 0.1, 0.1]]])
BOXES = BOXES.astype(np.float32)
TRUTH = Truth(
    np.zeros((1, 1, 4), np.float32),
    np.zeros((1, 1), np.int32),
    np.zeros((1, 1), bool),
    np.array([[[0.3, 0.3, 0.4, 0.4], [0.9, 0.9, 1, 1]]], np.float32),
    np.array([[1, -1]], np.int32),
)


def test_predictions_whose_centres_lie_in_an_ignored_box() -> None:
    expected = np.zeros((1, 4, 3), bool)
    expected[0, :2, 1] = True
    np.testing.assert_array_equal(_ignored(TRUTH, jnp.asarray(BOXES), 3), expected)
    assert _ignored(Truth(*TRUTH[:3]), jnp.asarray(BOXES), 3) is None


@pytest.mark.parametrize("kind", ["quality", "bce", "varifocal"])
def test_their_class_gets_no_gradient_there(kind: str) -> None:
    labels, quality = np.array([[-1, 0, 1, -1]], np.int32), np.full((1, 4), 0.7, np.float32)
    ignored = _ignored(TRUTH, jnp.asarray(BOXES), 3)

    def gradient(ignored: jax.Array | None) -> np.ndarray:
        return np.asarray(jax.grad(lambda x: classification_loss(kind, x, labels, quality, ignored).sum())(LOGITS))

    expected = np.where(ignored, 0, gradient(None))
    np.testing.assert_allclose(gradient(ignored), expected, rtol=1e-6)
    assert (expected[0, :2, 1] == 0).all()
    assert (expected[0, 2:] != 0).all()


def test_a_query_learns_its_own_object_inside_an_ignored_box() -> None:
    labels, quality = np.array([[1, -1, -1, -1]], np.int32), np.full((1, 4), 0.7, np.float32)
    ignored = _ignored(TRUTH, jnp.asarray(BOXES), 3)
    slope = jax.grad(lambda x: classification_loss("bce", x, labels, quality, ignored).sum())(LOGITS)
    assert slope[0, 0, 1] != 0


def test_presence_says_nothing_of_a_class_that_is_only_ignored() -> None:
    similarity = np.array([[1.0, 2.0, 3.0, 0.5]], np.float32)
    present, ignored = np.array([[True, False, False, True]]), np.array([[False, False, True, True]])
    kept = np.array([0, 1, 3])
    expected = presence_loss(similarity[:, kept], present[:, kept])
    np.testing.assert_allclose(presence_loss(similarity, present, ignored), expected, rtol=1e-6)
