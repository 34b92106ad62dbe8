"""Weights and checkpoints are written to and restored from directories with any name."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.clip.weights import load_weights, save_weights
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.checkpoints import Checkpoints
from remoteclip_jax.tasks.align.task import ranking
from remoteclip_jax.training.state import TrainState

NAMES = ("a[1]b", "[", "what?", "a*b", "a**", "%20#x=1", 'it\'s a "name"', "船", "line\nbreak", "{x}", "-x")
VALUES = np.arange(6, dtype=np.float32)


def state() -> TrainState:
    count, tower = jnp.asarray(3, jnp.int32), {"visual": {"kernel": jnp.asarray(VALUES)}}
    return TrainState(count, count, count, count, params=tower, batch_stats=tower, opt_state=(count,))


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints(name: str, tmp_path: Path) -> None:
    directory = tmp_path / name / "checkpoints"
    with Checkpoints(directory, ranking, keep_every=1) as checkpoints:
        checkpoints.save(state(), {"loss": 1.0})
    for again in (Checkpoints(directory, ranking), Checkpoints(directory, ranking, keep_every=1)):
        assert again.steps() == [3]
        assert again.best_step() == again.latest_step() == 3
        np.testing.assert_array_equal(again.restore_weights(3)["params"]["visual"]["kernel"], VALUES)
    restored = again.restore(state(), 3)
    assert int(restored.step) == 3


def test_weights(tmp_path: Path) -> None:
    config = ARCHITECTURES["tiny"]
    variables = {"params": {"logit_scale": np.float32(1.5)}, "batch_stats": {}}
    directory = tmp_path.joinpath(*NAMES)
    save_weights(directory, config, variables, {})
    assert load_weights(directory)[1]["params"]["logit_scale"] == 1.5
    assert list(directory.parent.iterdir()) == [directory]  # no temporary files are left


@pytest.mark.parametrize(
    ("name", "message"), [("bad\udcff", "not UTF-8"), ("gs:", "ends in a colon"), ("a\\b", "backslash")]
)
def test_invalid_names(name: str, message: str, tmp_path: Path) -> None:
    for write in (
        lambda path: Checkpoints(path / "checkpoints", ranking, keep_every=1),
        lambda path: save_weights(path / "w", ARCHITECTURES["tiny"], {"params": {}, "batch_stats": {}}, {}),
    ):
        with pytest.raises(UserError, match=message):
            write(tmp_path / name)
