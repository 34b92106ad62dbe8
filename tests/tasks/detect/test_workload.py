"""The training step of a detect run: on two devices it is that of one, and its largest preset has the right shapes."""

import contextlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.detector.model import Detector, detector_shapes
from remoteclip_jax.detector.postprocess import find_objects
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runtime.devices import AXIS, parallel, replicate, split_batch
from remoteclip_jax.tasks.configuration import load_config, new_config
from remoteclip_jax.tasks.detect.config import DetectConfig
from remoteclip_jax.tasks.detect.loss import make_detect_loss
from remoteclip_jax.tasks.detect.workload import RULES
from remoteclip_jax.tasks.registry import find_task
from remoteclip_jax.training.state import create_state
from remoteclip_jax.training.step import make_train_step


@pytest.mark.slow
def test_two_devices_train_as_one(detect_run: Path) -> None:
    """Both kinds of step, of object crops and of windows: losses and batch statistics are those of the whole batch on
    one device. (tests/detector/test_devices.py compares gradients.)"""
    assert jax.local_device_count() == 2
    run = RunDirectory(detect_run)
    config, task = load_config(run.config), find_task("detect")
    assert isinstance(config, DetectConfig)
    workload = task.prepare(config, run, task.read(config, run), False)
    step = parallel(make_train_step(workload.loss, config, RULES, AXIS), donate_first=True)
    state = replicate(create_state(workload.variables(), config, RULES, 6)._replace(first_steps=jnp.asarray(1)))
    with np.load(run.text_embeddings) as stored:
        texts = jnp.asarray(stored["embeddings"])
    whole_batch = jax.jit(make_detect_loss(Detector(ARCHITECTURES["tiny"], config.detector), texts))
    with contextlib.closing(workload.batches(0, 1)) as batches:
        for number, name in enumerate(("align_loss", "dense_loss")):
            batch = next(batches)
            key = jax.random.fold_in(jax.random.key(0), number)
            expected, (parts, statistics) = whole_batch(state.params.unpack(), state.batch_stats.unpack(), batch, key)
            expected, parts, statistics = jax.device_get((expected, parts, statistics))
            state, metrics = step(state, split_batch(batch))
            assert name in parts
            for part, value in {**parts, "loss": expected}.items():
                assert metrics[part] == pytest.approx(value, rel=1e-3, abs=1e-5), part
            for a, b in zip(jax.tree.leaves(state.batch_stats.unpack()), jax.tree.leaves(statistics), strict=True):
                assert np.linalg.norm(a - b) <= 1e-3 * np.linalg.norm(b) + 1e-6
            assert np.isfinite(metrics["grad_norm"])
    assert int(state.step) == 2


def test_the_preset_dior_has_the_right_shapes() -> None:
    """Sixteen images of 800 pixels, RN50, six layers, bfloat16; nothing is computed."""
    config = new_config({"task": "detect", "preset": "dior"})
    assert isinstance(config, DetectConfig)
    clip, n, size, slots = ARCHITECTURES[config.arch], config.batch_size, config.image_size, config.max_objects
    assert (n, size, slots, config.arch) == (16, 800, 300, "RN50")
    variables = detector_shapes(clip, config.detector)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(variables))
    assert variables["params"]["class_head"]["directions"].shape[-1] == clip.embed_dim
    assert {f"decoder_{i}" for i in range(6)} | {"visual"} <= variables["params"].keys()

    def shape(*of: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(of, dtype)

    batch = {
        "image": shape(n, size, size, 3, dtype=jnp.uint8),
        "boxes": shape(n, slots, 4),
        "labels": shape(n, slots, dtype=jnp.int32),
        "real": shape(n, slots, dtype=jnp.bool_),
        "ignored": shape(n, 32, 4),
        "ignored_labels": shape(n, 32, dtype=jnp.int32),
    }
    model = Detector(clip, config.detector, jnp.dtype(config.dtype))
    texts = jnp.eye(20, clip.embed_dim)
    state = jax.eval_shape(lambda given: create_state(given, config, RULES), variables)
    new, metrics = jax.eval_shape(make_train_step(make_detect_loss(model, texts), config, RULES), state, batch)
    assert jax.tree.structure(new) == jax.tree.structure(state)
    kinds = ([(x.shape, x.dtype) for x in jax.tree.leaves(tree)] for tree in (new, state))
    assert next(kinds) == next(kinds)
    assert {"loss", "dense_loss", "learning_rate", "grad_norm"} <= metrics.keys()
    assert {x.shape for x in metrics.values()} == {()}
    found = jax.eval_shape(
        lambda given, images: find_objects(model, given, [images], texts, count=config.max_detections),
        variables,
        shape(n, *config.views, *config.views, 3, dtype=jnp.uint8),
    )
    assert (found.boxes.shape, found.scores.shape) == ((n, 300, 4), (n, 300))
