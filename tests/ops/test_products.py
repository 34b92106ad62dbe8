"""The explicit products and gradients against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remoteclip_jax.clip.layers import Dense
from remoteclip_jax.ops.cpu import products

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


@pytest.mark.parametrize("rows", [2048, 7])
@pytest.mark.parametrize("columns", [(3, 5), (5, 3), (4, 4)])
def test_a_correlation_is_the_product_with_a_transpose(rows: int, columns: tuple[int, int]) -> None:
    with jax.enable_x64(True):
        x, g = arrays((rows, columns[0]), (rows, columns[1]))
        np.testing.assert_allclose(products.correlation(x, g), x.T @ g, rtol=1e-10, atol=1e-10)


def test_a_correlation_keeps_nan() -> None:
    x, g = arrays((2048, 3), (2048, 5), dtype="float32")
    x[0, 0] = np.nan
    found = np.asarray(products.correlation(x, g))
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1:], (x.T @ g)[1:], rtol=1e-4, atol=1e-4)


def test_a_product_by_head_has_the_gradients_of_its_einsum() -> None:
    with jax.enable_x64(True):
        x, kernel, g = arrays((2, 4, 7), (7, 4, 3), (2, 4, 3))
        value, vjp = jax.vjp(products.matmul_by_head, x, kernel)
        expected, plain = jax.vjp(lambda x, kernel: jnp.einsum("nhc,chd->nhd", x, kernel), x, kernel)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        for own, other in zip(vjp(jnp.asarray(g)), plain(jnp.asarray(g)), strict=True):
            np.testing.assert_allclose(own, other, rtol=1e-10, atol=1e-12)


def test_a_kernels_gradient_is_made_without_transposing_a_map() -> None:
    """The purpose of these products: by itself JAX computes a dense layer's gradient as the transpose of gᵀx."""
    x = jnp.zeros((1, 8, 8, 64))
    variables = Dense(16).init(jax.random.key(0), x)
    lowered = jax.jit(jax.grad(lambda v, x: jnp.square(jax.nn.relu(Dense(16).apply(v, x))).sum())).lower(variables, x)
    text = lowered.as_text()
    assert "stablehlo.dot_general" in text
    assert "contracting_dims = [0] x [0]" in text
