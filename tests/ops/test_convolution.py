"""Convolutions, by tiles and by XLA, and their gradients, against `lax.conv_general_dilated` and PyTorch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax import Array, lax

from remoteclip_jax.ops import convolution
from remoteclip_jax.ops.cpu import winograd

RNG = np.random.default_rng(0)


def arrays(*shapes: tuple[int, ...], dtype: str = "float64") -> list[np.ndarray]:
    return [RNG.normal(size=shape).astype(dtype) for shape in shapes]


def plain(stride: int) -> Callable[[Array, Array], Array]:
    def convolve(x: Array, kernel: Array) -> Array:
        padding = [(len(kernel) // 2, len(kernel) // 2)] * 2
        return lax.conv_general_dilated(
            x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    return convolve


@pytest.mark.parametrize(
    ("size", "stride", "channels", "by_tiles"),
    [
        (3, 1, (3, 4), True),
        (3, 1, (4, 3), True),
        (3, 1, (3, 4), False),
        (3, 2, (3, 4), True),
        (1, 1, (3, 4), True),
        (5, 2, (3, 4), True),
    ],
)
def test_a_convolution_has_the_value_and_the_gradients_of_a_convolution(
    size: int, stride: int, channels: tuple[int, int], by_tiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution, "WINOGRAD_COST", 0 if by_tiles else float("inf"))
    with jax.enable_x64(True):
        x, kernel = arrays((2, 9, 6, channels[0]), (size, size, *channels))
        value, vjp = jax.vjp(lambda x, kernel: convolution.convolve(x, kernel, stride), x, kernel)
        expected, expected_vjp = jax.vjp(plain(stride), x, kernel)
        np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-12)
        (g,) = arrays(value.shape)
        for own, other in zip(vjp(jnp.asarray(g)), expected_vjp(jnp.asarray(g)), strict=True):
            np.testing.assert_allclose(own, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 3), (2, 8, 5)])
def test_maps_of_any_size_are_cut_into_tiles(shape: tuple[int, ...]) -> None:
    with jax.enable_x64(True):
        x, kernel, g = arrays((*shape, 5), (3, 3, 5, 2), (*shape, 2))
        expected, vjp = jax.vjp(plain(1), x, kernel)
        np.testing.assert_allclose(winograd.convolve(x, kernel), expected, atol=1e-12)
        dx, dk = vjp(jnp.asarray(g))
        np.testing.assert_allclose(winograd.input_gradient(g, kernel), dx, atol=1e-12)
        np.testing.assert_allclose(winograd.kernel_gradient(x, g), dk, atol=1e-12)


def test_tiles_round_much_as_the_definition_does() -> None:
    """A layer of RN50 in float32: both against float64, in units of the result's standard deviation."""
    x, kernel, g = arrays((2, 14, 14, 256), (3, 3, 256, 256), (2, 14, 14, 256))
    with jax.enable_x64(True):
        exact = everything(plain(1), x, kernel, g)
    x, kernel, g = (a.astype(np.float32) for a in (x, kernel, g))
    by_definition = everything(plain(1), x, kernel, g)
    by_tiles = winograd.convolve(x, kernel), winograd.input_gradient(g, kernel), winograd.kernel_gradient(x, g)
    for found, other, expected in zip(by_tiles, by_definition, exact, strict=True):
        error, its = (np.abs(np.asarray(a) - expected).max() / expected.std() for a in (found, other))
        assert error <= min(2 * its, 2e-5), (error, its)


def everything(convolve: Callable[[Array, Array], Array], x: Any, kernel: Any, g: Any) -> tuple[np.ndarray, ...]:
    """The convolution and its two gradients."""
    value, vjp = jax.vjp(convolve, x, kernel)
    return tuple(np.asarray(a) for a in (value, *vjp(jnp.asarray(g))))


def test_convolutions_by_tiles_are_pytorchs() -> None:
    x, kernel = arrays((2, 15, 15, 32), (3, 3, 32, 48), dtype="float32")
    ours = winograd.convolve(x, kernel)
    theirs = torch.nn.functional.conv2d(
        torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(kernel).permute(3, 2, 0, 1), padding=1
    )
    np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1).numpy(), atol=1e-4)


def test_half_precision_is_convolved_by_definition_and_keeps_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformed tiles would be rounded to bfloat16 between the sums."""
    monkeypatch.setattr(convolution, "WINOGRAD_COST", 0)
    x, kernel = (jnp.asarray(a, jnp.bfloat16) for a in arrays((2, 8, 8, 4), (3, 3, 4, 3)))
    value, vjp = jax.vjp(lambda x, kernel: convolution.convolve(x, kernel, 1), x, kernel)
    np.testing.assert_array_equal(value, plain(1)(x, kernel))
    assert [gradient.dtype for gradient in vjp(value)] == [jnp.bfloat16] * 2
