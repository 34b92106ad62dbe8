"""A run of `contrast` that was interrupted within an epoch ends with the bits of one that was not."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.checkpoints import Checkpoints
from remoteclip_jax.tasks.configuration import load_config
from remoteclip_jax.tasks.contrast.task import ranking
from remoteclip_jax.tasks.training import train
from remoteclip_jax.training.interrupt import Interrupted
from remoteclip_jax.training.meter import Meter
from tests.commands.test_end_to_end import rows_without_times


def final_weights(run: Path) -> list[bytes]:
    """The bits of the weights in the last checkpoint."""
    with Checkpoints(run / "checkpoints", ranking) as checkpoints:
        weights = checkpoints.restore_weights(checkpoints.latest_step())
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(weights)]


def test_interrupted_within_an_epoch(
    contrast_run: Path, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the fourth of nine steps, an epoch being three."""
    add = Meter.add

    def adding(self: Meter, done: int, metrics: Any) -> Any:
        if done == 4:
            signal.raise_signal(signal.SIGTERM)
        return add(self, done, metrics)

    monkeypatch.setattr(Meter, "add", adding)
    run = tmp_path / "run"
    with pytest.raises(Interrupted, match="interrupted at step 4, which is saved"):
        train(settings, run)
    monkeypatch.undo()
    train({}, run)
    assert [row["step"] for row in rows_without_times(run)] == [3, 6, 9]
    assert rows_without_times(run) == rows_without_times(contrast_run)
    assert final_weights(run) == final_weights(contrast_run)


def test_captions_that_have_moved_are_named_again(contrast_run: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    """And others are refused."""
    data, moved = tmp_path / "data", tmp_path / "moved"
    shutil.copytree(contrast_run / "data", data)
    relative = os.path.relpath(data / "captions.json")
    del settings["data_dir"]
    run = train({**settings, "captions": relative, "max_steps": 1}, tmp_path / "run")
    assert load_config(run / "config.json").captions == str(data / "captions.json")
    data.rename(moved)
    with pytest.raises(UserError, match=r"captions\.json: no such file"):
        train({"max_steps": 2}, run)
    content = json.loads((moved / "captions.json").read_text())
    content["images"][0]["sentences"][0]["raw"] = "another caption"
    (moved / "other.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="begun with other data"):
        train({"max_steps": 2, "captions": str(moved / "other.json")}, run)
    train({"max_steps": 2, "captions": str(moved / "captions.json")}, run)
    assert rows_without_times(run)[-1]["step"] == 2
