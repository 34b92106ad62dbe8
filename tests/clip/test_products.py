"""The gradients that are written by hand, against JAX's own of the same product or convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remoteclip_jax.clip import products
from remoteclip_jax.clip.layers import Dense

RNG = np.random.default_rng(0)


def arrays(*shapes: tuple[int, ...], dtype: str = "float64") -> list[np.ndarray]:
    return [RNG.normal(size=shape).astype(dtype) for shape in shapes]


def test_a_product_has_the_gradients_of_a_product() -> None:
    with jax.enable_x64(True):
        x, kernel, g = arrays((2, 5, 3, 7), (7, 4), (2, 5, 3, 4))
        value, vjp = jax.vjp(products.matmul, x, kernel)
        expected, plain = jax.vjp(lambda x, kernel: x @ kernel, x, kernel)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        for own, other in zip(vjp(jnp.asarray(g)), plain(jnp.asarray(g)), strict=True):
            np.testing.assert_allclose(own, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [3, 1, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shifted", [True, False])
def test_a_convolution_has_the_gradients_of_a_convolution(
    size: int, stride: int, shifted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "LARGE", 0 if shifted else 10**9)
    monkeypatch.setattr(products, "COSTLY", 0)
    with jax.enable_x64(True):
        x, kernel = arrays((2, 9, 6, 3), (size, size, 3, 4))

        def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return jax.lax.conv_general_dilated(
                x, kernel, (stride, stride), [(size // 2, size // 2)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )

        value, vjp = jax.vjp(lambda x, kernel: products.convolve(x, kernel, stride), x, kernel)
        expected, expected_vjp = jax.vjp(plain, x, kernel)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        (g,) = arrays(value.shape)
        for own, other in zip(vjp(jnp.asarray(g)), expected_vjp(jnp.asarray(g)), strict=True):
            np.testing.assert_allclose(own, other, rtol=1e-10, atol=1e-12)


def test_gradients_of_half_precision_keep_their_types() -> None:
    x, kernel = (jnp.asarray(a, jnp.bfloat16) for a in arrays((2, 64, 48, 128), (3, 3, 128, 32)))
    assert x.shape[0] * x.shape[1] * x.shape[2] >= products.LARGE  # written as products on a CPU
    value, vjp = jax.vjp(lambda x, kernel: products.convolve(x, kernel, 1), x, kernel)
    assert [gradient.dtype for gradient in vjp(value)] == [jnp.bfloat16] * 2


def test_a_kernels_gradient_is_made_without_transposing_a_map() -> None:
    """What the products are for: XLA made a dense layer's gradient as the transpose of gᵀx."""
    x = jnp.zeros((4, 32, 32, 64))
    variables = Dense(16).init(jax.random.key(0), x)
    lowered = jax.jit(jax.grad(lambda v, x: jnp.square(jax.nn.relu(Dense(16).apply(v, x))).sum())).lower(variables, x)
    text = lowered.as_text()
    assert "stablehlo.dot_general" in text
    assert "contracting_dims = [0] x [0]" in text
