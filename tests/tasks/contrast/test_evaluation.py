"""Retrieval of weights and runs: the figures are those of `rc.encode_image` and `rc.encode_text`."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import remoteclip_jax as rc
from remoteclip_jax.clip.weights import save_weights
from remoteclip_jax.evaluation.retrieval import retrieval_metrics
from remoteclip_jax.runs.evaluation_data import EvalSettings
from remoteclip_jax.tasks.evaluating import describe, evaluate
from remoteclip_jax.tasks.training import train
from tests.command import all_fail, run
from tests.data.sample_datasets import write_json, write_noise

LONG = "a very long sentence about a harbor and " * 20
CAPTIONS = [["A harbor with ships .", "ships"], ["an airport", LONG], ["an airport"], ["many storage tanks!"]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images of the split "test" with six captions, one of them of two images, and one of the split "val"."""
    root = tmp_path_factory.mktemp("captioned")
    images: list[dict[str, Any]] = []
    for i, captions in enumerate([*CAPTIONS, ["not in this split"]]):
        write_noise(root / "images" / f"{i}.png", 40 + 8 * i, seed=i)
        split = "test" if i < len(CAPTIONS) else "val"
        images.append({"filename": f"{i}.png", "split": split, "sentences": [{"raw": text} for text in captions]})
    write_json(root / "captions.json", {"images": images})
    return root


@pytest.fixture(scope="module")
def weights(align_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    clip, directory = rc.load(align_run), tmp_path_factory.mktemp("weights") / "tiny"
    save_weights(directory, clip.config, clip.variables, {})
    return directory


def settings(data: Path, **change: Any) -> EvalSettings:
    return EvalSettings(evaluation="retrieval", captions=data / "captions.json", data_dir=data, **change)


def test_weights(weights: Path, data: Path) -> None:
    result = evaluate(weights, settings(data))
    clip = rc.load(weights)
    pictures = [Image.open(data / "images" / f"{i}.png") for i in range(len(CAPTIONS))]
    images = rc.encode_image(clip, rc.preprocess(pictures, clip))
    texts = rc.encode_text(clip, [text for captions in CAPTIONS for text in captions])
    expected = retrieval_metrics(np.asarray(images), np.asarray(texts), np.array([0, 0, 1, 1, 2, 3]))
    assert {name: result[name] for name in expected} == pytest.approx(expected)
    assert (result["images"], result["captions"], result["truncated"]) == (4, 6, 1)
    assert json.loads((weights / "eval/test-retrieval/metrics.json").read_text()) == result
    lines = describe(weights, result, "retrieval").splitlines()
    assert "1 captions are longer than 77 tokens, and were cut" in lines
    assert "images 4  captions 6" in lines
    assert lines[-1] == f"mean recall {100 * expected['mean_recall']:.2f} %"
    assert lines[-3].startswith("image to text  R@1 ")


def test_a_run_keeps_its_own_evaluation(align_run: Path, data: Path, synthetic_data: Path, tmp_path: Path) -> None:
    workdir = Path(shutil.copytree(align_run, tmp_path / "run"))
    own = evaluate(workdir, EvalSettings())
    evaluate(workdir, settings(data, split="test"))
    assert json.loads((workdir / "eval/test/metrics.json").read_text()) == own
    report = (workdir / "report.md").read_text()
    assert "| test-retrieval | 4 | 6 | image → text |" in report
    assert "eval/test/confusion.png" in report
    assert "### test, by class" in report
    # The same, when its own evaluation is named.
    assert evaluate(workdir, EvalSettings(evaluation="classification")) == own


def test_the_command(weights: Path, data: Path) -> None:
    """With DATA_DIR/captions.json, which need not be named."""
    result = run("eval.py", f"--workdir={weights}", "--task=retrieval", f"--data_dir={data}", "--split=val")
    assert "mean recall 100.00 %" in result.stdout, result.stderr[-2000:]
    assert "captions in RSICD's JSON" in result.stdout


def test_mistakes(weights: Path, data: Path, align_run: Path, detect_run: Path, tmp_path: Path) -> None:
    without = Path(shutil.copytree(align_run, tmp_path / "without"))
    shutil.rmtree(without / "text_tower")
    captions = (f"--captions={data / 'captions.json'}", f"--data_dir={data}")
    cases = (
        ("no text tower", "--task=retrieval", f"--workdir={without}", *captions),
        ("leave that out for detection, or name", "--task=retrieval", f"--workdir={detect_run}", *captions),
        ("--task=detection is for runs of --task=detect", "--task=detection", f"--workdir={align_run}"),
        ("known: classification, detection, retrieval", "--task=align", f"--workdir={align_run}"),
        ("name them with --captions=FILE", "--task=retrieval", f"--workdir={weights}"),
        ("--captions is for --task=retrieval, and this is classification", f"--workdir={weights}", captions[0]),
        ("--templates is for --task=classification", "--task=retrieval", f"--workdir={weights}", "--templates=rs106"),
        (
            "has no split 'train'; it has test, val",
            "--task=retrieval",
            f"--workdir={weights}",
            *captions,
            "--split=train",
        ),
        ("has no captions.json", "--task=retrieval", f"--workdir={weights}", f"--data_dir={tmp_path}"),
    )
    errors = all_fail("remoteclip_jax.commands.evaluate", *(arguments for _, *arguments in cases))
    for error, (message, *_) in zip(errors, cases, strict=True):
        assert message in error


def test_a_run_of_this_task_retrieves_and_classifies(tmp_path: Path) -> None:
    """On its own captions and on the boxes that they were made from."""
    change = {"synthetic_train": 16, "synthetic_val": 4, "synthetic_test": 2, "max_steps": 1, "batch_size": 16}
    workdir = train({"task": "contrast", "preset": "tiny", **change}, tmp_path / "run")
    assert evaluate(workdir, EvalSettings(split="val"))["images"] == 4
    result = evaluate(workdir, EvalSettings(split="val", evaluation="classification", templates=["a {}."]))
    assert sum(map(sum, result["confusion"])) == result["images"]
    assert (workdir / "eval/val-classification/confusion.png").exists()
    assert "recall" in (workdir / "eval/val/metrics.json").read_text()
    report = (workdir / "report.md").read_text()
    assert "| val | 4 | 20 | text → image |" in report
    assert "### val-classification, by class" in report
