"""Prediction in many images by the command: after a kill every image is there once, as if nothing had happened."""

import dataclasses
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

import remoteclip_jax as rc
from remoteclip_jax.bulk.job import PredictionJob, predict_images
from remoteclip_jax.bulk.prediction import predict_rows
from remoteclip_jax.bulk.shards import shard_rows
from remoteclip_jax.bulk.sources import find_images
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.files.lock import exclusive_lock
from remoteclip_jax.tasks.detect.request import DetectionRequest, prepare_detector
from tests.command import ROOT, all_fail, environment

COUNT, SIZE, THRESHOLD = 210, 64, 1e-4  # after six steps of training no score is high
BAD = ("s1/007.png", "s2/050.png", "s0/120.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small images in subfolders, and a few files that are none."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(COUNT):
        path = folder / f"s{i % 3}" / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.kron(rng.integers(0, 255, (6, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(path, compress_level=1)
    for name in BAD:
        (folder / name).write_bytes((folder / "s0" / "000.png").read_bytes()[:100])
    return folder


def request(detect_run: Path) -> DetectionRequest:
    return DetectionRequest(str(detect_run), ("ship", "harbor"), score_threshold=THRESHOLD, image_size=SIZE)


def predict(detect_run: Path, images: Path | str, output: Path, **options: Any) -> dict[str, Any]:
    """The rows of a prediction in this process, by image."""
    asked = options.pop("asked", request(detect_run))
    job = PredictionJob(asked, output, shard_images=60, batch_size=10, **options)
    notes = Notes("images")
    predict_images(job, find_images(str(images), True, notes), notes)
    return rows_in(output)


def rows_in(output: Path) -> dict[str, Any]:
    """The rows of all shards by image, of which each must be there once."""
    rows = [row for path in sorted((output / "results").glob("[0-9]*.[jp]*")) for row in shard_rows(path)]
    assert len({row["image"] for row in rows}) == len(rows)
    return {row["image"]: row for row in rows}


def same(rows: dict[str, Any], expected: dict[str, Any]) -> None:
    """In another batch an image may come out otherwise by a rounding."""
    assert set(rows) == set(expected)
    for name, row in rows.items():
        other = expected[name]
        assert {**row, "detections": 0} == {**other, "detections": 0}
        if "error" in row:
            continue
        assert [found["label"] for found in row["detections"]] == [found["label"] for found in other["detections"]]
        for key, digit in (("score", 1e-4), ("box", 1e-2)):
            mine, theirs = ([found[key] for found in one["detections"]] for one in (row, other))
            np.testing.assert_allclose(mine, theirs, atol=1.01 * digit)


@pytest.fixture(scope="module")
def undisturbed(detect_run: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return predict(detect_run, folder, tmp_path_factory.mktemp("undisturbed"))


# The command, which kills itself when it has written this many results and half of the next one.
KILLED = """
import os, signal, sys
from remoteclip_jax.bulk.results import Results
from remoteclip_jax.bulk.rows import to_line
from remoteclip_jax.commands import predict

append, results = Results.append, int(sys.argv.pop(1))

def append_or_die(self, row):
    if len(self.done) == results:
        self._file.write(to_line(row).encode()[:20])
        self._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    append(self, row)

Results.append = append_or_die
predict.run()
"""


def command(detect_run: Path, *arguments: str, start: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run the command in a process that computes as this one does."""
    asked = ("--prompts=ship,harbor", f"--score_threshold={THRESHOLD}", f"--image_size={SIZE}", "--batch_size=10")
    whole = [sys.executable, *start, f"--workdir={detect_run}", *asked, "--shard_images=60", *arguments]
    optimised = {**environment(devices=2), "JAX_DISABLE_MOST_OPTIMIZATIONS": "false"}
    return subprocess.run(whole, cwd=ROOT, env=optimised, capture_output=True, text=True, timeout=300)


def test_every_image_is_in_the_results(undisturbed: dict[str, Any], folder: Path) -> None:
    assert set(undisturbed) == {str(path) for path in folder.rglob("*.png")}
    assert {name for name, row in undisturbed.items() if "error" in row} == {str(folder / name) for name in BAD}
    assert sum(len(row.get("detections", ())) for row in undisturbed.values()) > COUNT


def test_a_killed_prediction_goes_on(
    detect_run: Path, folder: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    flags, results = (f"--images={folder}", f"--output={tmp_path}"), tmp_path / "results"
    killed = command(detect_run, *flags, start=("-c", KILLED, "75"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert sorted(path.name for path in results.iterdir()) == ["000000.jsonl", "000001.jsonl.part"]
    again = command(detect_run, *flags, start=("-m", "remoteclip_jax.predict"))
    assert again.returncode == 2, again.stderr[-2000:]  # for there are images that cannot be read
    same(rows_in(tmp_path), undisturbed)
    assert sorted(path.name for path in results.iterdir()) == [f"00000{i}.jsonl" for i in range(4)]
    assert "75 of them were done before" in again.stdout
    assert f"{COUNT - 75} images done" in again.stdout
    assert "3 images cannot be read" in again.stderr


def test_new_images_are_done_and_no_other_again(
    detect_run: Path, folder: Path, undisturbed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that could not be read are tried again only if asked for. Both formats have the same content."""
    names = sorted(undisturbed)[:25]
    (tmp_path / "list.txt").write_text("\n".join([*names, "", names[0]]))
    expected = {name: undisturbed[name] for name in names}
    same(predict(detect_run, tmp_path / "list.txt", tmp_path / "lines"), expected)
    before = predict(detect_run, tmp_path / "list.txt", tmp_path / "parquet", output_format="parquet")
    same(before, expected)
    broken, new = tmp_path / "broken.jpg", sorted(undisturbed)[25:30]
    broken.write_bytes(b"not an image")
    (tmp_path / "list.txt").write_text("\n".join([*new, str(broken), *names]))
    rows = predict(detect_run, tmp_path / "list.txt", tmp_path / "parquet", output_format="parquet")
    assert "25 of them were done before" in capsys.readouterr().out
    assert {name: rows[name] for name in names} == before
    same({name: rows[name] for name in new}, {name: undisturbed[name] for name in new})
    assert "not an image" in rows[str(broken)]["error"]
    Image.new("RGB", (50, 40)).save(broken)
    assert predict(detect_run, broken, tmp_path / "parquet", output_format="parquet") == rows
    options = {"output_format": "parquet", "retry_errors": True}
    assert predict(detect_run, broken, tmp_path / "parquet", **options)[str(broken)]["width"] == 50


def test_other_settings_and_a_second_process_are_refused(detect_run: Path, folder: Path, tmp_path: Path) -> None:
    image, asked = folder / "s0" / "000.png", request(detect_run)
    rows = predict(detect_run, image, tmp_path)
    moved = Path(shutil.copytree(detect_run, tmp_path / "moved", ignore=shutil.ignore_patterns("data")))
    assert predict(moved, image, tmp_path) == rows  # it is the same detector
    other = dataclasses.replace(asked, prompts=("ship",), score_threshold=0.5)
    with pytest.raises(rc.UserError, match=r"prompts was ship, harbor, now ship; score_threshold was .* now 0\.5"):
        predict(detect_run, image, tmp_path, asked=other)
    with pytest.raises(rc.UserError, match="output_format was jsonl, now parquet"):
        predict(detect_run, image, tmp_path, output_format="parquet")
    with (
        exclusive_lock(tmp_path / ".lock", "predicting", "--output"),
        pytest.raises(rc.UserError, match="another process is predicting here"),
    ):
        predict(detect_run, image, tmp_path)
    assert rows_in(tmp_path) == rows


def test_images_in_storage(detect_run: Path, folder: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    """A row has the URL; what is wrong with a copy is told of the URL; notes are with the row."""
    system = fsspec.filesystem("memory")
    local = {"a.png": folder / "s0" / "000.png", "broken.png": folder / BAD[0], "z.png": folder / "s2" / "002.png"}
    for name, path in local.items():
        system.put_file(str(path), f"/bulk/{name}")
    Image.fromarray(np.full((40, 50), 300, np.uint16)).save(tmp_path / "deep.png")
    ready = prepare_detector(request(detect_run))
    absent, deep = "memory:///bulk/absent.png", str(tmp_path / "deep.png")
    names = [absent, *find_images("memory://bulk", True, Notes("images")), absent, deep]
    rows = list(predict_rows(ready, names, 2))
    assert [row["image"] for row in rows] == names
    assert rows[0] == rows[4] == {"image": absent, "error": f"{absent}: no such file"}
    assert rows[2]["error"].startswith("memory:///bulk/broken.png: the image is broken")
    assert rows[5]["notes"][0].startswith("images of uint16 values")
    for row, path in ((rows[1], local["a.png"]), (rows[3], local["z.png"])):
        same({"a copy": {**row, "image": str(path)}}, {"a copy": undisturbed[str(path)]})
    system.rm("/bulk", recursive=True)


def test_wrong_flags(detect_run: Path, folder: Path, tmp_path: Path) -> None:
    """They are refused before JAX is loaded."""
    (tmp_path / "file").write_text("mine")
    workdir, images, output = f"--workdir={detect_run}", f"--images={folder}", f"--output={tmp_path / 'out'}"
    cases: tuple[tuple[str, ...], ...] = (
        ("--score_threshold=1.5", workdir, images, output, "--score_threshold=1.5"),
        ("--shard_images=0", workdir, images, output, "--shard_images=0"),
        ("--batch_size=0", workdir, images, output, "--batch_size=0"),
        ("--workers", workdir, images, output, "--workers=2"),
        ("no such file", workdir, f"--images={folder}/none.jpg", output),
        ("is a file", workdir, images, f"--output={tmp_path / 'file'}"),
        ("expected a folder", workdir, images, "--output=s3://bucket/results"),
    )
    errors = all_fail("remoteclip_jax.commands.predict", *(case[1:] for case in cases), without_jax=True)
    for error, (message, *_) in zip(errors, cases, strict=True):
        assert message in error
    assert not (tmp_path / "out").exists()
