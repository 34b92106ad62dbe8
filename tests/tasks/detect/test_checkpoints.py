"""A detector that was saved in the middle of its first epoch is loaded and evaluated."""

from pathlib import Path
from typing import Any

import pytest

import remoteclip_jax as rc
from remoteclip_jax.runs.checkpoints import Checkpoints
from remoteclip_jax.runs.evaluation_data import EvalSettings
from remoteclip_jax.tasks.detect.task import ranking
from remoteclip_jax.tasks.evaluating import evaluate
from remoteclip_jax.tasks.training import train
from remoteclip_jax.training import epochs
from remoteclip_jax.training.meter import Meter

# The structure of the preset `small`, several views and mosaics among it, with small numbers.
SHRUNK = {
    "arch": "tiny",
    "views": [64, 96],
    "align_share": 0.0,
    "max_objects": 8,
    "detector.width": 16,
    "detector.heads": 2,
    "detector.layers": 1,
    "detector.queries": 8,
    "detector.predict_queries": 8,
    "detector.feed_forward": 32,
    "detector.denoising": 4,
}


def test_a_checkpoint_within_an_epoch(synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved after the second of six steps; killed in the third."""
    add = Meter.add

    def adding(self: Meter, done: int, metrics: Any) -> Any:
        if done == 3:
            raise RuntimeError("killed")
        return add(self, done, metrics)

    monkeypatch.setattr(Meter, "add", adding)
    monkeypatch.setattr(epochs, "MAX_UNSAVED_SECONDS", 0.0)
    settings = {"task": "detect", "preset": "small", "image_size": 64, "max_detections": 30, "set": SHRUNK}
    run = tmp_path / "run"
    with pytest.raises(RuntimeError, match="killed"):
        train({**settings, "data_dir": str(synthetic_data)}, run)
    assert Checkpoints(run / "checkpoints", ranking).latest_step() == 2
    detector = rc.load_detector(run)
    assert (detector.views, detector.config.layers, detector.max_detections) == ((64, 96), 1, 30)
    result = evaluate(run, EvalSettings(split="val"))
    assert result["images"] == 10
    assert (run / "eval" / "val" / "metrics.json").exists()
