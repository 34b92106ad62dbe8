"""Fractal noise made at low resolution and scaled up, which costs a few milliseconds however large the image is."""

import numpy as np
from jaxtyping import Float32
from PIL import Image


def upscale(field: Float32[np.ndarray, "h w"], size: int) -> Float32[np.ndarray, "size size"]:
    """A field scaled to size x size, smoothly."""
    return np.asarray(
        Image.fromarray(field).resize(
            (size, size), Image.Resampling.BICUBIC if field.shape[0] < 100 else Image.Resampling.BILINEAR
        )
    )


def fractal(
    rng: np.random.Generator, size: int, coarsest: int = 4, octaves: int = 5, gain: float = 0.6
) -> Float32[np.ndarray, "size size"]:
    """Noise with `coarsest` cells a side in the first octave, twice as many in each next; mean 0, deviation 1."""
    total = np.zeros((size, size), np.float32)
    for k in range(octaves):
        cells = coarsest << k
        total += upscale(rng.standard_normal((cells, cells), np.float32), size) * np.float32(gain**k)
    total -= total.mean()
    return total / np.float32(max(float(total.std()), 1e-6))


def wander(rng: np.random.Generator, n: int, octaves: int = 4) -> Float32[np.ndarray, "n"]:
    """A wavering line of `n` values, about −1 to 1: a coast, a river's course."""
    x = np.linspace(0, 1, n)
    total = np.zeros(n)
    for k in range(octaves):
        knots = (2 << k) + 2
        total += np.interp(x, np.linspace(0, 1, knots), rng.normal(0, 1, knots)) * 0.5**k
    return total.astype(np.float32)
