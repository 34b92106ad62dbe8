"""Batch normalisation and its explicit gradient, against PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from remoteclip_jax.ops.batch_norm import BatchNorm


def both(x: np.ndarray, g: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Result, running statistics and gradients of ours, and of PyTorch's."""
    channels, dtype = x.shape[-1], x.dtype
    rng = np.random.default_rng(1)
    mean, var = rng.normal(size=channels).astype(dtype), rng.uniform(0.5, 2, channels).astype(dtype)
    module = BatchNorm(dtype=dtype)

    def forward(parameters: dict[str, jax.Array], x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        variables = {"params": parameters, "batch_stats": {"mean": jnp.array(mean), "var": jnp.array(var)}}
        y, new = module.apply(variables, x, train=True, mutable=["batch_stats"])
        return y, new["batch_stats"]

    parameters = {"scale": jnp.array(scale), "bias": jnp.array(bias)}
    y, backward, statistics = jax.vjp(forward, parameters, jnp.array(x), has_aux=True)
    of_parameters, of_x = backward(jnp.array(g))
    ours = {"y": y, **statistics, **{f"of_{k}": v for k, v in of_parameters.items()}, "of_x": of_x}

    theirs = torch.nn.BatchNorm2d(channels, dtype=torch.from_numpy(x).dtype)
    state = {"weight": scale, "bias": bias, "running_mean": mean, "running_var": var}
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()}, strict=False)
    z = torch.from_numpy(x).permute(0, 3, 1, 2).requires_grad_()
    out = theirs(z)
    out.backward(torch.from_numpy(g).permute(0, 3, 1, 2))
    reference = {
        "y": out.permute(0, 2, 3, 1),
        "mean": theirs.running_mean,
        "var": theirs.running_var,
        "of_scale": theirs.weight.grad,
        "of_bias": theirs.bias.grad,
        "of_x": z.grad.permute(0, 2, 3, 1),
    }
    return [
        {name: np.asarray(value) for name, value in ours.items()},
        {name: value.detach().numpy() for name, value in reference.items()},
    ]


def arguments(dtype: type, offset: float) -> list[np.ndarray]:
    """Maps whose mean is up to `offset` standard deviations away from zero."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 9, 7, 5)) * rng.uniform(0.2, 3, 5)
    x += rng.uniform(-offset, offset, 5) * x.std((0, 1, 2))
    return [a.astype(dtype) for a in (x, rng.normal(size=x.shape), rng.normal(size=5), rng.normal(size=5))]


def test_equals_pytorch_in_double_precision() -> None:
    with jax.enable_x64(True):
        ours, theirs = both(*arguments(np.float64, 1.0))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("offset", [1.0, 30.0])
def test_single_precision_is_as_exact_as_its_numbers(offset: float) -> None:
    """A mean far from zero costs digits when it is subtracted, and no more than those."""
    single = arguments(np.float32, offset)
    ours, _ = both(*single)
    with jax.enable_x64(True):
        _, truth = both(*(a.astype(np.float64) for a in single))
    for name, value in ours.items():
        largest = np.abs(truth[name]).max()
        assert np.abs(value - truth[name]).max() < (2 + offset) * 2e-6 * largest, name


def test_keeps_bfloat16_and_counts_in_single_precision() -> None:
    x, g, scale, bias = arguments(np.float32, 3.0)
    x = np.asarray(jnp.asarray(x, jnp.bfloat16))
    module = BatchNorm(dtype=jnp.bfloat16)
    variables = {"params": {"scale": jnp.array(scale), "bias": jnp.array(bias)}}
    statistics = {"mean": jnp.zeros(5), "var": jnp.ones(5)}

    def loss(parameters: dict[str, jax.Array], x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, _ = module.apply({"params": parameters, "batch_stats": statistics}, x, train=True, mutable=["batch_stats"])
        return (y.astype(jnp.float32) * g).sum(), y

    gradients, y = jax.grad(loss, (0, 1), has_aux=True)(variables["params"], jnp.array(x))
    ours, _ = both(x.astype(np.float32), g.astype(jnp.bfloat16).astype(np.float32), scale, bias)
    assert y.dtype == gradients[1].dtype == jnp.bfloat16
    assert gradients[0]["scale"].dtype == jnp.float32
    np.testing.assert_allclose(gradients[0]["scale"], ours["of_scale"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(y.astype(np.float32), ours["y"], rtol=2**-8)
