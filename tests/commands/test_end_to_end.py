"""From training to loading, on synthetic data with a narrow tower: train, resume, evaluate, load."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import remoteclip_jax as rc
from remoteclip_jax.data.pipeline import Batches
from remoteclip_jax.runs.checkpoints import Checkpoints
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.evaluation_data import EvalSettings
from remoteclip_jax.runs.metrics_log import read_rows
from remoteclip_jax.tasks.align import workload
from remoteclip_jax.tasks.align.batches import training_batches
from remoteclip_jax.tasks.align.task import ranking
from remoteclip_jax.tasks.evaluating import evaluate
from remoteclip_jax.tasks.training import train
from tests.command import ROOT, environment, run

TINY = {"preset": "tiny", "epochs": 3, "checkpoint_every": 2}  # as `align_run`
TIMES = ("iterations_per_sec", "seconds")


def rows_without_times(workdir: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in read_rows(RunDirectory(workdir).metrics)]


def final_bits(workdir: Path) -> list[bytes]:
    checkpoints = Checkpoints(RunDirectory(workdir).checkpoints, ranking)
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(checkpoints.restore_weights(checkpoints.latest_step()))]


@pytest.fixture(scope="module")
def finished(align_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `align_run`, for evaluations."""
    return Path(shutil.copytree(align_run, tmp_path_factory.mktemp("runs") / "run"))


def test_run_directory(finished: Path) -> None:
    rows = read_rows(finished / "metrics.jsonl")
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["step"] for row in rows] == [3, 6, 9]
    assert {"step", "epoch", "loss", "learning_rate", "iterations_per_sec", "val_loss", "val_top1"} <= rows[0].keys()
    assert rows[-1]["loss"] < rows[0]["loss"]
    kept = Checkpoints(finished / "checkpoints", ranking).steps()
    assert {6, 9} <= set(kept)  # every second epoch, and the last
    best = min(rows, key=lambda row: row["val_loss"])["step"]
    assert best in kept
    assert (finished / "text_tower" / "config.json").exists()
    restored = Checkpoints(finished / "checkpoints", ranking).restore_weights(9)
    assert set(restored["params"]) == {"visual", "logit_scale"}  # the frozen tower is not stored again


def test_report(finished: Path) -> None:
    text = (finished / "report.md").read_text()
    for expected in ("| epoch | loss | decline |", "best", "checkpoint saved", "iterations/s", "frozen", "eval.py"):
        assert expected in text
    page = (finished / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert 'src="loss.png"' not in page
    assert "<table>" in page


def test_evaluation_writes_metrics(finished: Path) -> None:
    result = evaluate(finished, EvalSettings(split="val"))
    assert json.loads((finished / "eval/val/metrics.json").read_text()) == result
    best = min(read_rows(finished / "metrics.jsonl"), key=lambda row: row["val_loss"])
    for name in ("loss", "top1", "top5"):  # the same images in batches of another size
        assert result[name] == pytest.approx(best[f"val_{name}"], rel=1e-4)
    assert "| val |" in (finished / "report.md").read_text()


def test_zero_shot_with_other_names_and_templates(finished: Path, synthetic_data: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    from remoteclip_jax.data.classes import DIOR_CLASSES

    names.write_text("\n".join((*reversed(DIOR_CLASSES), "lighthouse")))
    settings = EvalSettings(
        split="val", data_dir=synthetic_data, classes=names, templates=["a {}.", "the {} from above."]
    )
    result = evaluate(finished, settings)
    assert len(result["classes"]) == 21
    assert 0 <= result["top1"] <= result["top5"] <= 1


def test_loading_a_run(finished: Path) -> None:
    clip = rc.load(finished)
    image = Image.new("RGB", (80, 120), (10, 200, 30))
    z = rc.encode_image(clip, rc.preprocess([image, image], clip))
    t = rc.encode_text(clip, ["a ship", "a harbor", "a dam"])
    assert z.shape == (2, 64)
    assert t.shape == (3, 64)
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(t, axis=-1), 1, rtol=1e-5)


def test_a_run_from_the_weights_of_another(
    finished: Path, synthetic_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its text tower is still the other's, bit for bit. It needs those weights only when it begins."""
    weights = Path(shutil.copytree(finished, tmp_path / "weights"))
    settings = {**TINY, "data_dir": str(synthetic_data), "weights": str(weights), "max_steps": 2}
    run = train(settings, tmp_path / "run")
    first, second = (rc.load(path).variables["params"] for path in (finished, run))
    for a, b in zip(jax.tree.leaves(first["text"]), jax.tree.leaves(second["text"]), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert any(
        np.asarray(a).tobytes() != np.asarray(b).tobytes()
        for a, b in zip(jax.tree.leaves(first["visual"]), jax.tree.leaves(second["visual"]), strict=True)
    )
    shutil.rmtree(weights)
    train({"max_steps": 3, "weights": str(weights)}, run)
    assert "is not read: this run goes on from its own checkpoint" in capsys.readouterr().out
    assert read_rows(run / "metrics.jsonl")[-1]["step"] == 3
    assert "text" in json.loads((run / "summary.json").read_text())["parameters"]


def test_a_finished_run_is_left_as_it_is(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """(tests/training/test_resuming.py extends one.)"""
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    before = (copy / "metrics.jsonl").read_text()
    train({"epochs": 3}, copy)
    assert "finished" in capsys.readouterr().out
    assert (copy / "metrics.jsonl").read_text() == before


def test_max_minutes_fits_the_steps_once(
    synthetic_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fitted number is saved, and a run that is started again keeps it. A time that is too short gives one step."""
    settings = {"preset": "tiny", "data_dir": str(synthetic_data), "max_minutes": 0.1}
    run = train(settings, tmp_path / "run")
    fitted = json.loads((run / "config.json").read_text())["total_steps"]
    assert fitted >= 1
    assert read_rows(run / "metrics.jsonl")[-1]["step"] == fitted
    capsys.readouterr()
    train(settings, run)
    assert f"finished ({fitted} steps)" in capsys.readouterr().out
    with pytest.raises(rc.UserError, match="to go on give --epochs"):
        train({**settings, "max_minutes": 9.0}, run)


def test_other_settings_are_refused_by_name(finished: Path) -> None:
    with pytest.raises(rc.UserError, match=r"--learning_rate=0.5 \(was 0.001\).*--seed=9 \(was 0\)"):
        train({"learning_rate": 0.5, "seed": 9, "epochs": 9}, finished)


def test_resumed_in_the_middle_ends_the_same(finished: Path, synthetic_data: Path, tmp_path: Path) -> None:
    """Stopped after two thirds of an epoch, then extended: the same bits."""
    settings = {**TINY, "data_dir": str(synthetic_data)}
    train({**settings, "max_steps": 5}, tmp_path / "run")
    train({**settings, "max_steps": 9}, tmp_path / "run")
    assert final_bits(tmp_path / "run") == final_bits(finished)


def test_killed_and_started_again_ends_the_same(finished: Path, synthetic_data: Path, tmp_path: Path) -> None:
    """By SIGKILL and by SIGTERM, at random moments: metrics and weights are, bit for bit, those of a run that was not
    interrupted."""
    whole = Path(shutil.copytree(finished, tmp_path / "whole"))
    train({"epochs": 10}, whole)
    arguments = ["train.py", "--preset=tiny", f"--data_dir={synthetic_data}", "--epochs=10", "--checkpoint_every=1"]
    rng = np.random.default_rng(time.time_ns())
    for rows, number in ((1, signal.SIGKILL), (int(rng.integers(3, 6)), signal.SIGTERM)):
        command = [sys.executable, *arguments, f"--workdir={tmp_path / 'killed'}"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment(2), stdout=subprocess.DEVNULL)
        log = tmp_path / "killed" / "metrics.jsonl"
        while process.poll() is None and (not log.exists() or len(log.read_text().splitlines()) < rows):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(number)
        assert process.wait() == (128 + number if number == signal.SIGTERM else -number)
    assert run(*arguments, f"--workdir={tmp_path / 'killed'}", devices=2).returncode == 0
    assert rows_without_times(tmp_path / "killed") == rows_without_times(whole)
    assert final_bits(tmp_path / "killed") == final_bits(whole)


def test_without_torch(synthetic_data: Path, tmp_path: Path) -> None:
    """Neither importing the package nor training imports torch."""
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['open_clip'] = None\n"
        "from pathlib import Path; from remoteclip_jax.tasks.training import train\n"
        "train({'preset': 'tiny', 'data_dir': sys.argv[1], 'max_steps': 1}, Path(sys.argv[2]))"
    )
    result = run("-c", code, synthetic_data, tmp_path / "run", devices=2)
    assert result.returncode == 0, result.stderr[-2000:]


def test_nan_stops_the_run_and_names_the_checkpoint(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))

    def with_nan(*arguments: Any, **options: Any) -> Batches:
        for batch in training_batches(*arguments, **options):
            yield {**batch, "target": np.full_like(batch["target"], np.nan)}

    monkeypatch.setattr(workload, "training_batches", with_nan)
    with pytest.raises(rc.UserError, match=r"\w+ is nan at step 1\d; last good checkpoint: .*/9;"):
        train({"epochs": 6}, run)
    assert Checkpoints(run / "checkpoints", ranking).latest_step() == 9


@pytest.mark.slow
def test_a_detector_resumes_in_the_middle_of_its_alignment(synthetic_data: Path, tmp_path: Path) -> None:
    """Four of six steps align the image tower. What was lost after the third is repeated bit for bit."""
    settings = {
        "task": "detect",
        "preset": "tiny",
        "data_dir": str(synthetic_data),
        "epochs": 2,
        "checkpoint_every": 1,
        "align_share": 0.7,
        "validations": 0,
    }
    whole = train(settings, tmp_path / "whole")
    first, second = read_rows(whole / "metrics.jsonl")
    assert json.loads((whole / "config.json").read_text())["first_steps"] == 4
    assert "align_loss" in first
    assert "dense_loss" not in first
    assert {"align_loss", "dense_loss"} <= second.keys()
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    shutil.rmtree(copy / "checkpoints" / "6")
    train({}, copy)
    assert rows_without_times(copy) == rows_without_times(whole)
    assert final_bits(copy) == final_bits(whole)
