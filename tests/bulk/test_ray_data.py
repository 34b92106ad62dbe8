"""Prediction by a Ray cluster of two workers, one of which is killed; and what can go wrong with a cluster."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from remoteclip_jax.bulk import job, ray_data
from remoteclip_jax.bulk.job import PredictionJob, predict_images
from remoteclip_jax.bulk.prediction import predict_rows
from remoteclip_jax.bulk.rows import Row
from remoteclip_jax.bulk.shards import shard_rows
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.errors import UserError
from remoteclip_jax.tasks.detect.request import DetectionRequest, prepare_detector

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
COUNT, BATCH = 48, 4


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """The paths of images, one of which cannot be read, and one is deep."""
    rng, paths = np.random.default_rng(0), [tmp_path / f"{i}.png" for i in range(COUNT)]
    for path in paths:
        pixels = np.kron(rng.integers(0, 255, (6, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    paths[7].write_bytes(b"not an image")
    Image.fromarray(np.full((40, 50), 300, np.uint16)).save(paths[9])
    return list(map(str, paths))


@needs_ray
def test_two_workers_of_which_one_is_killed(
    images: list[str], detect_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The results are those of this process, and nothing that was done is done again."""
    asked = DetectionRequest(str(detect_run), ("ship", "harbor"), score_threshold=1e-4, image_size=64)
    expected = {row["image"]: row for row in predict_rows(prepare_detector(asked), images, BATCH)}
    predict_in_ray, killed = ray_data.predict_rows_with_ray, []

    def killing(*arguments: Any) -> Iterator[Row]:
        for number, row in enumerate(predict_in_ray(*arguments)):
            if number == 2:
                workers = [child for child in psutil.Process().children(recursive=True) if "MapWorker" in child.name()]
                assert len(workers) == 2
                workers[0].kill()
                killed.append(workers[0])
            yield row

    monkeypatch.setattr(job, "predict_rows_with_ray", killing)
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "false")  # in the workers too
    some, notes, output = images[:4], Notes("images"), tmp_path / "out"
    plain = PredictionJob(asked, output, "parquet", batch_size=BATCH)
    predict_images(plain, some, notes)
    outcome = predict_images(PredictionJob(**{**vars(plain), "ray": "local", "workers": 2}), images, notes)
    assert killed
    assert (outcome.total, outcome.done, outcome.failed) == (COUNT, COUNT - len(some), 1)
    assert notes.lines()[0].startswith("images: 1 images of uint16 values")
    rows = [row for path in sorted((output / "results").iterdir()) for row in shard_rows(path)]
    assert sorted(row["image"] for row in rows) == sorted(images)
    for row in rows:
        same = expected[row["image"]]
        assert {**row, "detections": 0} == {**same, "detections": 0}
        for mine, theirs in zip(row.get("detections", ()), same.get("detections", ()), strict=True):
            assert mine["label"] == theirs["label"]
            assert mine["score"] == pytest.approx(theirs["score"], abs=1.01e-4)
            assert mine["box"] == pytest.approx(theirs["box"], abs=1.01e-2)


@needs_ray
def test_no_cluster(detect_run: Path) -> None:
    with pytest.raises(UserError, match=r"--ray=127\.0\.0\.1:1: no cluster there .* choose --ray=local"):
        next(ray_data.predict_rows_with_ray(DetectionRequest(str(detect_run)), ["a.jpg"], "127.0.0.1:1", 2, None))


@needs_ray
def test_errors_of_workers_are_one_line() -> None:
    import ray

    error = ray.exceptions.RayError("it died\n  File x\nremoteclip_jax.errors.UserError: /run: no such directory\n")
    assert str(ray_data._user_error(error)) == "in a worker of Ray: /run: no such directory"
    assert str(ray_data._user_error(ray.exceptions.RayError("lost\n\nthe node"))) == "Ray: the node"
    defect = ray.exceptions.RayTaskError("f", "KeyError: 1", KeyError(1))
    assert ray_data._user_error(defect) is defect


def test_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'remoteclip-jax\[ray\]'"):
        ray_data.check_ray()
