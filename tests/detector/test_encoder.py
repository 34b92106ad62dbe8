"""Embeddings of positions and sizes in pixels: a larger image around an object changes nothing."""

import jax.numpy as jnp
import numpy as np

from remoteclip_jax.detector.decoder import box_embedding
from remoteclip_jax.detector.encoder import WAVES, sine_embedding

BOXES = np.random.default_rng(0).uniform(0.05, 0.45, (5, 4)).astype(np.float32)


def test_the_image_around_a_box_does_not_matter() -> None:
    small, large = box_embedding(BOXES, 256, 48), box_embedding(BOXES / 4, 1024, 48)
    np.testing.assert_allclose(large, small, atol=1e-4)
    assert small.shape == (5, 48)


def test_different_positions_and_sizes_have_different_embeddings() -> None:
    start = box_embedding(BOXES, 256, 48)
    for axis in range(4):
        moved = np.asarray(box_embedding(BOXES + np.eye(4, dtype=np.float32)[axis] * 0.02, 256, 48))
        assert np.abs(moved - start).max(-1).min() > 0.05
    assert np.isfinite(box_embedding(np.zeros((1, 4), np.float32), 256, 48)).all()


def test_no_wave_is_longer_than_a_window() -> None:
    """Beyond the windows of training the embedding repeats its values from there."""
    x = jnp.arange(0, 256, 8.0)[:, None]
    longest = np.asarray(sine_embedding(x + WAVES[1], 8)) - np.asarray(sine_embedding(x, 8))
    np.testing.assert_allclose(longest[:, [0, 4]], 0, atol=1e-4)
    assert np.abs(np.asarray(sine_embedding(x, 8))).max() <= 1
