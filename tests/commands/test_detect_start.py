"""What a detector's training may start from and leave out: another detector's run, and novel classes."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import remoteclip_jax as rc
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.errors import UserError
from remoteclip_jax.tasks.detect.config import PRESETS
from remoteclip_jax.tasks.training import train
from tests.command import run

TINY: dict[str, Any] = {"task": "detect", "preset": "tiny", "max_steps": 1}


def variables(workdir: Path) -> Any:
    return jax.tree.map(np.asarray, rc.load_detector(workdir).variables)


@pytest.mark.slow
def test_a_detector_goes_on_from_another_one(detect_run: Path, tmp_path: Path) -> None:
    """With a learning rate of almost zero it still is what it was, and a part of another shape is new."""
    data = str(detect_run / "data")
    shape = PRESETS["tiny"].detector.replace(train_norm=False, layers=2, feed_forward=80)
    again = train(
        {**TINY, "data_dir": data, "weights": str(detect_run), "learning_rate": 1e-12, "detector": shape}, tmp_path
    )
    old, new = variables(detect_run)["params"], variables(again)["params"]
    for part in ("visual", "tower", "class_head", "class_query"):
        for a, b in zip(jax.tree.leaves(old[part]), jax.tree.leaves(new[part]), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    assert new["decoder_0"]["feed_forward"]["Dense_0"]["kernel"].shape[-1] == 80
    assert "decoder_1" in new


@pytest.mark.slow
def test_other_prompts_adapt_the_head_anew(detect_run: Path, tmp_path: Path) -> None:
    """Among two classes the prompts differ in one direction; the text tower is the other run's."""
    data = read_dataset(detect_run / "data", "train")
    content = {"images": [], "annotations": [], "categories": [{"id": i, "name": n} for i, n in enumerate(("a", "b"))]}
    for i, example in enumerate(data.examples[:8]):
        content["images"].append({"id": i, "file_name": example.image.name, "width": 192, "height": 192})
        content["annotations"].append({"id": i, "image_id": i, "category_id": i % 2, "bbox": [20, 20, 60, 50]})
    (tmp_path / "data" / "annotations").mkdir(parents=True)
    (tmp_path / "data" / "annotations" / "instances_train.json").write_text(json.dumps(content))
    (tmp_path / "data" / "images").symlink_to(detect_run / "data" / "images")
    settings = {**TINY, "data_dir": str(tmp_path / "data"), "weights": str(detect_run)}
    started = rc.load_detector(train(settings, tmp_path / "run"))
    assert started.classes == ("a", "b")
    gains = np.asarray(started.variables["params"]["class_head"]["gains"])
    assert (gains != 1).sum() <= 2
    old = rc.load_detector(detect_run)
    assert started.text is not None
    assert old.text is not None
    for a, b in zip(jax.tree.leaves(old.text.variables), jax.tree.leaves(started.text.variables), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_novel_classes_are_tested_and_not_trained(detect_run: Path, tmp_path: Path) -> None:
    data = read_dataset(detect_run / "data", "train")
    novel = [data.classes[label] for label in np.unique(data.examples[0].labels)[:1]]
    result = run(
        "train.py",
        "--task=detect",
        "--preset=tiny",
        "--max_steps=2",
        f"--data_dir={detect_run / 'data'}",
        f"--novel={novel[0]}",
        f"--workdir={tmp_path / 'run'}",
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert "images left out, which show novel classes" in result.stdout
    metrics = json.loads((tmp_path / "run" / "eval" / "test" / "metrics.json").read_text())
    assert metrics["novel"] == novel
    assert len(metrics["per_class"]) == 20
    assert rc.load_detector(tmp_path / "run").classes == data.classes
    assert f"called novel ({novel[0]})" in (tmp_path / "run" / "report.md").read_text()


def test_align_does_not_start_from_a_detector(detect_run: Path, tmp_path: Path) -> None:
    settings = {"preset": "tiny", "data_dir": str(detect_run / "data"), "weights": str(detect_run)}
    with pytest.raises(
        UserError, match="is a detect run, where an align or contrast run, or converted weights, are expected"
    ):
        train(settings, tmp_path / "run")


def test_align_holds_no_classes_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--novel is for --task=detect; --task=align does not use it"):
        train({"preset": "tiny", "novel": ("ship",)}, tmp_path / "run")
