"""From training on synthetic images with captions to embeddings, to open_clip, and to a detector."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

import remoteclip_jax as rc
from convert.to_torch import write_checkpoint
from convert.verify import torch_model
from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.runs.metrics_log import read_rows
from remoteclip_jax.tasks.training import train

TEXTS = ["a satellite photo of a ship", "there are two harbors", "", "word " * 100]


@pytest.fixture(scope="module")
def images(contrast_run: Path) -> list[Image.Image]:
    return [Image.open(path) for path in sorted((contrast_run / "data" / "images").glob("*.jpg"))[:3]]


def test_run_directory(contrast_run: Path) -> None:
    rows = read_rows(contrast_run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [3, 6, 9]
    assert {"loss", "temperature", "learning_rate", "grad_norm", "val_mean_recall"} <= rows[0].keys()
    assert all(0 <= row["val_mean_recall"] <= 1 for row in rows)
    assert set(json.loads((contrast_run / "summary.json").read_text())["parameters"]) >= {"visual", "text"}
    assert not (contrast_run / "text_tower").exists()  # both towers are in the checkpoints
    assert not (contrast_run / "data" / "windows").exists()  # with a grid of one
    report = (contrast_run / "report.md").read_text()
    for expected in ("| epoch | loss | validation recall | temperature |", "--task=detect", "both towers"):
        assert expected in report


def test_it_embeds(contrast_run: Path, images: list[Image.Image]) -> None:
    clip = rc.load(contrast_run)
    z, t = rc.encode_image(clip, rc.preprocess(images, clip)), rc.encode_text(clip, TEXTS)
    assert (z.shape, t.shape) == ((3, 64), (4, 64))
    for embeddings in (z, t):
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=-1), 1, rtol=1e-5)


def test_open_clip_loads_it(contrast_run: Path, images: list[Image.Image], tmp_path: Path) -> None:
    write_checkpoint(contrast_run, tmp_path / "run.pt")
    model = torch_model(ARCHITECTURES["tiny"]).eval()
    model.load_state_dict(torch.load(tmp_path / "run.pt", weights_only=True), strict=True)
    clip = rc.load(contrast_run)
    x = rc.preprocess(images, clip)
    with torch.no_grad():
        z = model.encode_image(torch.from_numpy(x).permute(0, 3, 1, 2), normalize=True).numpy()
        t = model.encode_text(open_clip.tokenize(TEXTS), normalize=True).numpy()
    np.testing.assert_allclose(rc.encode_image(clip, x), z, atol=2e-5)
    np.testing.assert_allclose(rc.encode_text(clip, TEXTS), t, atol=2e-5)
    trained = model.logit_scale.item()
    rows = read_rows(contrast_run / "metrics.jsonl")
    assert trained != pytest.approx(np.log(1 / 0.07), abs=1e-6)
    assert min(abs(trained + np.log(row["temperature"])) for row in rows) < 0.01


def test_a_run_from_its_weights(contrast_run: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    """A `contrast` run begins with both towers of another one."""
    run = train({**settings, "weights": str(contrast_run), "freeze": "text", "max_steps": 1}, tmp_path / "run")
    before, after = (rc.load(path).variables["params"] for path in (contrast_run, run))
    for name in ("token_embedding", "ln_final"):
        for key, value in before["text"][name].items():
            np.testing.assert_array_equal(after["text"][name][key], value)
    assert np.any(np.asarray(before["visual"]["conv1"]["kernel"]) != after["visual"]["conv1"]["kernel"])


@pytest.mark.slow
def test_a_detector_begins_with_it(contrast_run: Path, tmp_path: Path) -> None:
    settings = {"task": "detect", "preset": "tiny", "weights": str(contrast_run), "max_steps": 1}
    run = train({**settings, "data_dir": str(contrast_run / "data")}, tmp_path / "run")
    detector = rc.load_detector(run)
    assert rc.detect(detector, Image.new("RGB", (96, 96)), ["ship"]).scores.ndim == 1
