"""Weights stay on the device: only the inputs are transferred, explicitly."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import remoteclip_jax as rc
from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.clip.model import init
from remoteclip_jax.clip.weights import save_weights
from remoteclip_jax.tasks.training import train
from remoteclip_jax.training.meter import Meter
from remoteclip_jax.training.program import Program
from remoteclip_jax.training.state import TrainState
from remoteclip_jax.training.stream import BatchStream

TINY = ARCHITECTURES["tiny"]


def test_the_guard_notices_an_implicit_transfer() -> None:
    with jax.transfer_guard("disallow"), pytest.raises(Exception, match="Disallowed"):
        jax.jit(lambda x: x + 1)(np.ones(3))


def test_embedding_transfers_only_its_inputs(tmp_path: Path) -> None:
    save_weights(tmp_path / "weights", TINY, init(TINY, jax.random.key(0)), {})
    clip = rc.load(tmp_path / "weights")
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(clip.variables))
    images = rc.preprocess([Image.new("RGB", (70, 50))] * 2, clip)
    expected = rc.encode_image(clip, images), rc.encode_text(clip, ["a ship", "a dam"])  # and compiles
    with jax.transfer_guard("disallow"):
        found = rc.encode_image(clip, images), rc.encode_text(clip, ["a ship", "a dam"])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_detecting_transfers_only_its_inputs(detect_run: Path) -> None:
    detector, image = rc.load_detector(detect_run), Image.new("RGB", (70, 50), (90, 120, 60))
    expected = rc.detect(detector, image, score_threshold=0.0)
    with jax.transfer_guard("disallow"):
        found = rc.detect(detector, image, score_threshold=0.0)
    np.testing.assert_array_equal(found.boxes, expected.boxes)


def test_a_training_step_transfers_only_its_batch(
    synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first step, which compiles. Nor does the state hold a text tower, which no step needs."""
    steps = []

    def step(self: Program, state: TrainState, batch: Any) -> Any:
        steps.append(set(jax.eval_shape(lambda: state.params.unpack())))
        with jax.transfer_guard("disallow" if len(steps) > 1 else "allow"):
            return call(self, state, batch)

    def read(self: BatchStream) -> None:
        with jax.transfer_guard("disallow"):
            read_batch(self)

    def add(self: Meter, done: int, metrics: Any) -> Any:
        with jax.transfer_guard("disallow"):
            return add_to_meter(self, done, metrics)

    add_to_meter, read_batch, call = Meter.add, BatchStream._read, Program.__call__
    monkeypatch.setattr(Program, "__call__", step)
    monkeypatch.setattr(BatchStream, "_read", read)
    monkeypatch.setattr(Meter, "add", add)
    train({"preset": "tiny", "data_dir": str(synthetic_data), "max_steps": 3}, tmp_path / "run")
    assert steps == [{"visual", "logit_scale"}] * 3
