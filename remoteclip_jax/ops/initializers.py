"""Initial values of parameters, drawn on the host by NumPy.

JAX would compile a program for them, which takes longer than any training step: ten seconds for RN50 on two cores, a
minute for a detector on a GPU. So modules only declare how their parameters are distributed, and are traced for that.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Initializer:
    """The distribution of a parameter; an initializer for Flax. `draw(rng, shape)` returns float32 or float64."""

    draw: Callable[[np.random.Generator, Shape], np.ndarray]

    def __call__(
        self, key: Key[Array, ""] | None, shape: Sequence[int], dtype: Any = jnp.float32
    ) -> Float[Array, "..."]:
        """Values drawn with `key` (None: of an initializer that does not depend on it). While modules are traced by
        `declare`, zeros in their place."""
        declared = _declared.get()
        if declared is not None:
            placeholder = jnp.zeros(shape, dtype)
            declared[id(placeholder)] = placeholder, self
            return placeholder

        def values(*words: Any) -> np.ndarray:
            return self.draw(np.random.default_rng(np.ravel(words)), tuple(shape)).astype(dtype)

        words = () if key is None else (jax.random.key_data(key),)
        if any(isinstance(x, jax.core.Tracer) for x in words):
            return jnp.asarray(jax.pure_callback(values, jax.ShapeDtypeStruct(shape, dtype), *words))
        return jnp.asarray(values(*words))


# The parameters that modules have declared, by the identity of their placeholders.
_declared: ContextVar[dict[int, tuple[Any, Initializer]] | None] = ContextVar("declared", default=None)


def constant(value: float) -> Initializer:
    """The same value everywhere."""
    return Initializer(lambda _, shape: np.full(shape, value, np.float32))


zeros, ones = constant(0.0), constant(1.0)


def normal(std: float) -> Initializer:
    """A normal distribution around zero."""
    return Initializer(lambda rng, shape: np.float32(std) * rng.standard_normal(shape, np.float32))


def _lecun(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    x = rng.standard_normal(shape, np.float32)
    while (far := np.abs(x) > 2).any():
        x[far] = rng.standard_normal(int(far.sum()), np.float32)
    return x * np.float32(shape[0] ** -0.5 / 0.87962566103423978)  # the deviation of what is left of a unit normal


def _torch_uniform(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    bound = math.prod(shape[:-1]) ** -0.5
    return np.float32(2 * bound) * (rng.random(shape, np.float32) - np.float32(0.5))


# Flax's default for dense layers: a normal distribution, truncated at two standard deviations, of variance 1/fan_in.
lecun_normal = Initializer(_lecun)
# PyTorch's default for convolutions (Kaiming uniform, a = √5): U(−1/√fan_in, 1/√fan_in). Kernels are HWIO.
torch_uniform = Initializer(_torch_uniform)


@dataclass(frozen=True)
class Declared:
    """The shape, the type and the distribution of a parameter."""

    shape: Shape
    dtype: Any
    initializer: Initializer


def declare(initialise: Callable[[Key[Array, ""]], Any]) -> Any:
    """The tree that a Flax module's `initialise(key)` returns, with a `Declared` in place of each array.

    Nothing is compiled or computed. KeyError if a parameter's initializer is not an `Initializer`.
    """
    tree: Any = None

    def trace(key: Key[Array, ""]) -> None:
        nonlocal tree
        declared: dict[int, tuple[Any, Initializer]] = {}
        token = _declared.set(declared)
        try:
            variables = initialise(key)
        finally:
            _declared.reset(token)
        tree = jax.tree.map(lambda x: Declared(x.shape, x.dtype, declared[id(x)][1]), variables)

    jax.eval_shape(trace, jax.random.key(0))
    return tree


def shapes(declared: Any) -> Any:
    """The tree of `jax.ShapeDtypeStruct` of declared parameters."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), declared)


def draw(declared: Any, key: Key[Array, ""]) -> Any:
    """Values for declared parameters, on the default device. Each depends on the key and on its own path alone."""
    seed = np.ravel(jax.random.key_data(key))

    def values(path: tuple[Any, ...], x: Declared) -> np.ndarray:
        name = "/".join(str(part.key) for part in path)
        rng = np.random.default_rng([*seed, zlib.crc32(name.encode())])
        return x.initializer.draw(rng, x.shape).astype(x.dtype)

    return jax.device_put(jax.tree_util.tree_map_with_path(values, declared))
