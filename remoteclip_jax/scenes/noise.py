"""Fractal noise, made at low resolution and scaled up: a few milliseconds, however large the image is."""

import numpy as np
from jaxtyping import Float32
from PIL import Image


def upscale(field: Float32[np.ndarray, "h w"], size: int) -> Float32[np.ndarray, "size size"]:
    """The field interpolated smoothly to size x size."""
    return np.asarray(
        Image.fromarray(field).resize(
            (size, size), Image.Resampling.BICUBIC if field.shape[0] < 100 else Image.Resampling.BILINEAR
        )
    )


def fractal_noise(
    rng: np.random.Generator, size: int, coarsest: int = 4, octaves: int = 5, gain: float = 0.6
) -> Float32[np.ndarray, "size size"]:
    """Noise with mean 0 and standard deviation 1.

    The first octave has `coarsest` cells a side, and each further octave twice as many at `gain` times the amplitude.
    """
    total = np.zeros((size, size), np.float32)
    for k in range(octaves):
        cells = coarsest << k
        total += upscale(rng.standard_normal((cells, cells), np.float32), size) * np.float32(gain**k)
    total -= total.mean()
    return total / np.float32(max(float(total.std()), 1e-6))


def fractal_curve(rng: np.random.Generator, n: int, octaves: int = 4) -> Float32[np.ndarray, "n"]:
    """One-dimensional fractal noise of `n` values, about −1 to 1: a shoreline or the course of a river."""
    x = np.linspace(0, 1, n)
    total = np.zeros(n)
    for k in range(octaves):
        knots = (2 << k) + 2
        total += np.interp(x, np.linspace(0, 1, knots), rng.normal(0, 1, knots)) * 0.5**k
    return total.astype(np.float32)
