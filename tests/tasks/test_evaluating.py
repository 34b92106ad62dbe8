"""What an evaluation says besides its figures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.errors import UserError
from remoteclip_jax.evaluation.detection import evaluate_detections
from remoteclip_jax.runs import evaluation_data
from remoteclip_jax.runs.evaluation_data import EvalSettings
from remoteclip_jax.tasks.align import evaluation as align
from remoteclip_jax.tasks.detect import evaluation as detect
from remoteclip_jax.tasks.detect.config import DetectConfig
from remoteclip_jax.tasks.evaluating import describe, evaluate
from tests.detector.small_model import TINY

NOTES = ("test: 3 boxes without area dropped (first in a.xml)",)


@pytest.fixture
def dataset() -> Dataset:
    """An image with an object and one without."""
    box, none = np.full((1, 4), 0.5, np.float32), np.zeros((0, 4), np.float32)
    examples = [Example(Path(f"{len(x)}.jpg"), 9, 9, x, np.zeros(len(x), np.int32)) for x in (box, none)]
    return Dataset("test", ("ship",), tuple(examples), notes=NOTES)


def test_notes_are_written_and_told(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Any] = []

    def make_measure(model: Any, *rest: Any, **more: Any) -> Any:
        measured.append(model.dtype)
        sums = {"top1": 1, "top5": 2, "loss": 0.5, "count": 2, "confusion": [[1.0]]}
        return lambda variables: {name: np.array(value) for name, value in sums.items()}

    monkeypatch.setattr(align, "load", lambda path: RemoteCLIP(TINY, {}, "bfloat16"))
    monkeypatch.setattr(evaluation_data, "read_dataset", lambda *_, **__: dataset)
    monkeypatch.setattr(align, "evaluation_embeddings", lambda *arguments: np.ones((1, 64), np.float32))
    monkeypatch.setattr(align, "make_measure", make_measure)
    result = evaluate(tmp_path, EvalSettings(data_dir=tmp_path))
    dropped = "test: 1 images without objects skipped"
    several = "test: 1 images show several classes, and count in no class's accuracy"
    assert result["notes"] == [*NOTES, dropped, several]
    assert result["per_class"] == {"ship": {"accuracy": 1.0, "n": 1}}
    assert (result["images"], result["skipped"]) == (1, 1)
    assert json.loads((tmp_path / "eval/test/metrics.json").read_text())["notes"] == result["notes"]
    assert (tmp_path / "eval/test/confusion.png").read_bytes().startswith(b"\x89PNG")
    figures = [
        "images 1  top-1 50.00 %  top-5 100.00 %",
        "mean per-class accuracy 100.00 % (1 classes)",
        "loss 0.2500",
    ]
    assert describe(tmp_path, result).splitlines() == [*result["notes"], *figures]
    assert measured == ["bfloat16"]  # the type in which `rc.encode_image` computes


def test_detections_are_told_with_their_notes(dataset: Dataset) -> None:
    from tests.evaluation.test_own_files import CLASSES, found

    data = Dataset("test", CLASSES, dataset.examples, notes=NOTES)
    result = evaluate_detections(data, [found([], []), found([], [])])
    result |= {"notes": NOTES, "images": 2, "views": (64, 128), "max_detections": 300, "threshold": 0.4, "f1": 0.5}
    lines = detect.describe(result).splitlines()
    assert lines[:2] == [*NOTES, "2 images, predicted at 64 and 128 pixels, at most 300 detections in each"]
    assert lines[2] == "above the run's score threshold of 0.4: F1 50.0 %"
    assert lines[3].startswith("AP 0.0")


def test_max_detections_are_for_detectors(tmp_path: Path) -> None:
    for count in (0, 5):
        with pytest.raises(UserError, match="--max_detections is for runs of --task=detect"):
            evaluate(tmp_path, EvalSettings(max_detections=count))
    for count in (0, 3001):
        with pytest.raises(UserError, match=f"--max_detections={count} is out of range"):
            DetectConfig(max_detections=count)
    assert DetectConfig().max_detections == 300
