"""A user's mistakes: each ends with one line `error: …` and exit code 2, and nothing that was there before is lost."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import remoteclip_jax as rc
from remoteclip_jax.errors import user_message
from remoteclip_jax.runs.checkpoints import Checkpoints
from remoteclip_jax.runs.evaluation_data import EvalSettings
from remoteclip_jax.tasks.align.task import ranking
from remoteclip_jax.tasks.evaluating import evaluate
from remoteclip_jax.tasks.training import train
from tests.command import ROOT, all_fail, environment

TINY = {"preset": "tiny", "max_steps": 1}


@pytest.fixture
def data(synthetic_data: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(synthetic_data, tmp_path / "data"))


def first(data: Path, folder: str, ending: str) -> Path:
    stem = (data / "splits" / "train.txt").read_text().split()[0]
    return data / folder / f"{stem}.{ending}"


def refused(data: Path, tmp_path: Path, **settings: object) -> str:
    with pytest.raises(rc.UserError) as caught:
        train({**TINY, "data_dir": str(data), **settings}, tmp_path / "run")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_broken_annotations_name_their_file(data: Path, tmp_path: Path) -> None:
    annotation = first(data, "annotations", "xml")
    whole = annotation.read_text()
    bomb = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "xxxxxxxxxx">]><annotation>&x;</annotation>'
    for content in (whole[: len(whole) // 2], bomb, ""):
        annotation.write_text(content)
        assert annotation.name in refused(data, tmp_path)


def test_unknown_class_is_named_with_the_nearest(data: Path, tmp_path: Path) -> None:
    annotation = first(data, "annotations", "xml")
    text = annotation.read_text()
    name = text.split("<name>")[1].split("<")[0]
    annotation.write_text(text.replace(f"<name>{name}<", f"<name>{name}x<"))
    message = refused(data, tmp_path)
    assert f"{name}x" in message
    assert f"nearest known class is '{name}'" in message


def test_images_that_are_missing_or_none(data: Path, tmp_path: Path) -> None:
    image = first(data, "images", "jpg")
    pixels = image.read_bytes()
    image.write_text("not an image")
    assert image.name in refused(data, tmp_path)
    image.write_bytes(pixels[: len(pixels) // 3])  # the header is whole: only decoding shows it
    assert image.name in refused(data, tmp_path, max_steps=3)
    image.unlink()
    assert image.stem in refused(data, tmp_path)


def test_splits_and_batches(data: Path, tmp_path: Path) -> None:
    assert "--batch_size=26 is larger than the 24 images" in refused(data, tmp_path, batch_size=26)
    assert "multiple of the 2 devices" in refused(data, tmp_path, batch_size=7)
    (data / "splits" / "train.txt").write_text("\n")
    assert "empty" in refused(data, tmp_path)
    (data / "splits" / "train.txt").unlink()
    assert "no split 'train'; it has" in refused(data, tmp_path)
    (tmp_path / "empty").mkdir()
    assert "no data set here" in refused(tmp_path / "empty", tmp_path)


def test_a_run_that_never_began_takes_other_settings(data: Path, tmp_path: Path) -> None:
    """A wrong flag is corrected, with the same --workdir. Boxes without area are dropped, counted and reported."""
    annotation = first(data, "annotations", "xml")
    text = annotation.read_text()
    box = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>5</xmax><ymax>9</ymax></bndbox>"
    annotation.write_text(text.replace("</annotation>", f"<object><name>ship</name>{box}</object></annotation>"))
    assert "larger than the 24 images" in refused(data, tmp_path, batch_size=26)
    run = train({**TINY, "data_dir": str(data), "batch_size": 8}, tmp_path / "run")
    assert "1 boxes without area dropped" in (run / "report.md").read_text()


def test_text_embeddings_without_a_text_tower(align_run: Path, synthetic_data: Path, tmp_path: Path) -> None:
    """A run from stored embeddings knows their names alone; another npz brings others."""
    with np.load(align_run / "text_embeddings.npz") as stored:
        names, rows = stored["class_names"], stored["embeddings"]
    np.savez(tmp_path / "texts.npz", class_names=names, embeddings=rows)
    settings = {**TINY, "data_dir": str(synthetic_data), "text_embeddings": str(tmp_path / "texts.npz")}
    run = train(settings, tmp_path / "run")
    assert not (run / "text_tower").exists()
    assert evaluate(run, EvalSettings(split="val"))["images"] == 10
    with pytest.raises(rc.UserError, match="stored names: airplane, airport"):
        evaluate(run, EvalSettings(split="val", templates=["a {}"]))
    with pytest.raises(rc.UserError, match="no text tower"):
        rc.encode_text(rc.load(run), ["a ship"])
    np.savez(tmp_path / "few.npz", class_names=names[:19], embeddings=rows[:19])
    message = refused(synthetic_data, tmp_path / "other", text_embeddings=str(tmp_path / "few.npz"))
    assert "unknown class 'windmill'" in message


def test_command_lines_end_with_exit_code_two(synthetic_data: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    tiny = ("--preset=tiny", f"--workdir={tmp_path / 'run'}")
    cases: tuple[tuple[str, ...], ...] = (
        ("nowhere", *tiny, f"--data_dir={tmp_path / 'nowhere'}"),
        ("holds no run", f"--workdir={tmp_path}"),
        ("--image_size=100", *tiny, "--image_size=100", f"--data_dir={synthetic_data}"),
        ("--preset=huge", *tiny, "--preset=huge"),
        ("--batch_size=-1", *tiny, "--batch_size=-1"),
        ("warp", *tiny, "--schedule=warp"),
        ("lerning_rate", *tiny, "--lerning_rate=1"),
        ("'stray'", *tiny, "stray"),
        ("there is no such setting; the nearest is detector.layers", "--task=detect", "--set=detector.layer=4"),
    )
    errors = all_fail("remoteclip_jax.commands.train", *(arguments for _, *arguments in cases))
    for error, (message, *_) in zip(errors, cases, strict=True):
        assert message in error
    assert (tmp_path / "note.txt").read_text() == "mine"
    nothing, nowhere = all_fail("remoteclip_jax.commands.evaluate", (), (f"--workdir={tmp_path / 'nowhere'}",))
    assert "--workdir" in nothing
    assert "nowhere" in nowhere


def test_damaged_run_directories(align_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(align_run, tmp_path / "run"))
    (run / "config.json").write_text("{")
    with pytest.raises(rc.UserError, match=r"config\.json is damaged"):
        train({}, run)
    (run / "config.json").write_text(json.dumps({"epochs": 1, "colour": "red"}))
    with pytest.raises(rc.UserError, match=r"config\.json is damaged or from another version"):
        rc.load(run)
    shutil.rmtree(run / "checkpoints" / "9" / "default")
    with pytest.raises(rc.UserError, match="cannot restore the checkpoint of step 9"):
        Checkpoints(run / "checkpoints", ranking).restore_weights(9)


def test_full_disk_on_save(align_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and the checkpoint before is kept; when there is room again, the run continues."""
    run = Path(shutil.copytree(align_run, tmp_path / "run"))
    steps = Checkpoints(run / "checkpoints", ranking).steps()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 0))
        with pytest.raises(rc.UserError, match=r"cannot save the checkpoint of step 12 .* no space left on the disk"):
            train({"epochs": 4}, run)
    assert Checkpoints(run / "checkpoints", ranking).steps() == steps
    train({"epochs": 4}, run)
    assert 12 in Checkpoints(run / "checkpoints", ranking).steps()


def test_write_that_fails_in_the_middle(align_run: Path, tmp_path: Path) -> None:
    """No file may grow beyond a limit that a checkpoint exceeds: exit code 2, and the checkpoint before is kept."""
    run = Path(shutil.copytree(align_run, tmp_path / "run"))
    steps = Checkpoints(run / "checkpoints", ranking).steps()
    command = [sys.executable, "train.py", f"--workdir={run}", "--epochs=4"]
    limited = ["bash", "-c", 'ulimit -f 1000; exec "$@"', "bash", *command]
    result = subprocess.run(limited, cwd=ROOT, env=environment(2), capture_output=True, text=True)
    assert result.returncode == 2, result.stderr[-2000:]
    assert [line for line in result.stderr.splitlines() if line.startswith("error: cannot save")]
    assert "Traceback" not in result.stderr
    assert Checkpoints(run / "checkpoints", ranking).steps() == steps


def test_running_out_of_memory_suggests_a_smaller_batch() -> None:
    for error in (MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.")):
        assert "--batch_size" in (user_message(error) or "")
    assert user_message(RuntimeError("a defect")) is None
