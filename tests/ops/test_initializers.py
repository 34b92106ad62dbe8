"""Initial values: distributed as declared, the same wherever they are drawn, and drawn without compiling anything."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.clip.model import CLIP, init, init_shapes
from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.detector.model import detector_shapes
from remoteclip_jax.detector.model import init as init_detector
from remoteclip_jax.ops.initializers import constant, declare, draw, lecun_normal, normal, torch_uniform

TINY, CONFIG = ARCHITECTURES["tiny"], DetectorConfig(width=16, heads=2, layers=1)
SHAPE = (3, 3, 64, 256)
REFERENCES = {
    "normal": (normal(0.02), nn.initializers.normal(0.02)),
    "lecun_normal": (lecun_normal, nn.initializers.lecun_normal()),
    "torch_uniform": (torch_uniform, nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")),
    "constant": (constant(2.5), nn.initializers.constant(2.5)),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_values_are_distributed_as_flax_distributes_them(name: str) -> None:
    ours, theirs = REFERENCES[name]
    shape = (512, 1024) if name == "lecun_normal" else SHAPE
    x, expected = (np.asarray(f(jax.random.key(1), shape, jnp.float32)) for f in (ours, theirs))
    assert x.dtype == np.float32
    assert abs(x.mean() - expected.mean()) <= 0.01 * expected.std()
    for q in (0.001, 0.1, 0.3, 0.9, 0.999):
        np.testing.assert_allclose(np.quantile(x, q), np.quantile(expected, q), rtol=0.02)
    np.testing.assert_allclose([x.min(), x.max()], [expected.min(), expected.max()], rtol=0.2)


def test_an_initializer_draws_the_same_in_a_compiled_function() -> None:
    key = jax.random.key(3)
    np.testing.assert_array_equal(jax.jit(lambda k: normal(1.0)(k, (4, 5)))(key), normal(1.0)(key, (4, 5)))
    assert not np.array_equal(normal(1.0)(key, (4, 5)), normal(1.0)(jax.random.key(4), (4, 5)))


class Foreign(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return nn.Dense(3)(x)


def test_a_parameter_whose_distribution_is_unknown_is_an_error() -> None:
    with pytest.raises(KeyError):
        declare(lambda key: Foreign().init(key, jnp.ones((1, 2))))


def flat(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def test_shapes_are_those_that_flax_would_make() -> None:
    inputs = jnp.zeros((1, 32, 32, 3)), jnp.zeros((1, TINY.context_length), jnp.int32)
    expected = jax.eval_shape(CLIP(TINY).init, jax.random.key(0), *inputs)
    assert flat(init_shapes(TINY)) == flat(expected)
    assert flat(detector_shapes(TINY, CONFIG)) == {
        path: jax.ShapeDtypeStruct(x.shape, x.dtype)
        for path, x in flat(init_detector(TINY, CONFIG, jax.random.key(0))).items()
    }


def test_a_value_depends_on_the_key_and_on_its_path_alone() -> None:
    both, alone = flat(init(TINY, jax.random.key(0))), flat(init(TINY, jax.random.key(0), text_tower=False))
    for path, x in alone.items():
        np.testing.assert_array_equal(x, both[path])
    other = flat(init(TINY, jax.random.key(1), text_tower=False))
    kernels = [path for path in alone if path.endswith("['kernel']")]
    assert kernels
    assert not any(np.array_equal(alone[path], other[path]) for path in kernels)
    assert len({np.asarray(alone[path]).ravel()[0].item() for path in kernels}) == len(kernels)


def test_a_detector_takes_a_given_image_tower() -> None:
    tower = init(TINY, jax.random.key(5), text_tower=False)
    own, given = (init_detector(TINY, CONFIG, jax.random.key(0), visual) for visual in (None, tower))
    assert given["params"]["visual"] is tower["params"]["visual"]
    assert given["batch_stats"]["visual"] is tower["batch_stats"]["visual"]
    without = [
        {path: x for path, x in flat(variables).items() if "['visual']" not in path} for variables in (own, given)
    ]
    assert without[0].keys() == without[1].keys()
    for path, x in without[0].items():
        np.testing.assert_array_equal(x, without[1][path])


def test_nothing_is_compiled() -> None:
    declared = declare(lambda key: CLIP(TINY).init(key, jnp.zeros((1, 32, 32, 3)), method="encode_image"))
    key, compiled = jax.random.key(0), []
    jax.random.key_data(key)

    def listen(event: str, *_: Any, **__: Any) -> None:
        compiled.append(event) if "backend_compile" in event else None

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        values = draw(declared, key)
        assert not compiled
        jax.jit(lambda x: x + 41.5)(1.0)  # which it would have noticed
        assert compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(values))
