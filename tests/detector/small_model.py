"""A detector small enough to compile in seconds, with weights for which no part is the identity."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.clip.model import Variables
from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.detector.model import DenoisingQueries, Detector, Outputs

TINY = ARCHITECTURES["tiny"]
SMALL = DetectorConfig(
    width=16,
    heads=2,
    layers=2,
    queries=8,
    predict_queries=8,
    feed_forward=32,
    points=2,
    denoising=6,
    contrast=0.5,
    match_overlap=0.6,
)

# Programs that run once or twice are not worth optimising.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def quick(function: Any) -> Any:
    return jax.jit(function, compiler_options=QUICK)


@cache
def random_variables(config: DetectorConfig, seed: int = 0) -> Variables:
    """Random values for all variables: no gate or output projection is zero, and no statistics are the initial ones.

    A value depends only on its path and the seed, so that two configurations share what they have in common.
    """
    denoising = (
        DenoisingQueries(jnp.zeros((1, 1, 4)), jnp.zeros((1, 1), int), jnp.zeros((1, 1), int))
        if config.denoising
        else None
    )
    inputs = jax.random.key(0), jnp.zeros((1, 64, 64, 3)), jnp.ones((2, TINY.embed_dim)), None, denoising
    shapes = jax.eval_shape(Detector(TINY, config).init, *inputs)

    def draw(path: Any, like: jax.ShapeDtypeStruct) -> np.ndarray:
        names = [key.key for key in path]
        rng = np.random.default_rng([seed, *"/".join(names).encode()])
        if names[-1] == "gate":
            value: Any = 0.5
        elif names[1:] == ["class_head", "scale"]:
            value = np.log(14.0)
        elif names[1:] == ["class_head", "directions"]:
            value = np.zeros(like.shape)
            value[:4] = np.linalg.qr(rng.normal(size=(like.shape[1], 4)))[0].T
        elif names[1:] == ["class_head", "gains"]:
            value = rng.uniform(0.3, 2, like.shape)
        elif names[-1] in ("scale", "var"):
            value = rng.uniform(0.5, 1.5, like.shape)
        elif like.ndim < 2:
            value = rng.normal(0, 0.3, like.shape)
        else:
            value = rng.normal(size=like.shape) / np.sqrt(np.prod(like.shape[:-1]))
        return np.asarray(value, np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def random_texts(count: int, seed: int = 0) -> np.ndarray:
    texts = np.random.default_rng(seed).normal(size=(count, TINY.embed_dim)).astype(np.float32)
    return texts / np.linalg.norm(texts, axis=-1, keepdims=True)


def random_images(count: int, size: int = 64, seed: int = 0) -> np.ndarray:
    """Normalised images with something at every scale."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.normal(size=(count, 4, 4, 3)), np.ones((1, size // 4, size // 4, 1)))
    return (coarse + rng.normal(size=(count, size, size, 3))).astype(np.float32)


@cache
def compiled(config: DetectorConfig) -> Any:
    """The detector in evaluation mode as a function of variables, images, texts, valid and denoising."""
    model = Detector(TINY, config)
    return quick(lambda variables, *inputs: model.apply(variables, *inputs))


def run(config: DetectorConfig, variables: Variables, images: Any, texts: Any, valid: Any = None) -> Outputs:
    valid = np.ones(len(texts), bool) if valid is None else valid
    return jax.tree.map(np.asarray, compiled(config)(variables, images, texts, jnp.asarray(valid)))
