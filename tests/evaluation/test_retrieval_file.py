"""Retrieval with stored embeddings."""

from pathlib import Path

import numpy as np
import pytest

from remoteclip_jax.errors import UserError
from remoteclip_jax.evaluation.retrieval import retrieval_metrics
from remoteclip_jax.evaluation.retrieval_file import describe, evaluate_embeddings
from tests.command import all_fail, run


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "image_embeddings": rng.normal(size=(20, 8)).astype(np.float16),
        "text_embeddings": rng.normal(size=(60, 8)),
        "image_of_text": np.repeat(np.arange(20), 3).astype(np.uint8),
    }


def test_the_command(tmp_path: Path) -> None:
    np.savez(tmp_path / "file.npz", **arrays())
    expected = retrieval_metrics(*(np.asarray(x, dtype) for x, dtype in zip(arrays().values(), "ffi", strict=True)))
    result = run("eval.py", "--task=retrieval", f"--embeddings={tmp_path / 'file.npz'}")
    lines = result.stdout.splitlines()
    assert lines[0] == "images 20  captions 60", result.stderr[-2000:]
    for line, way in ((lines[1], "image_to_text"), (lines[2], "text_to_image")):
        assert all(f"R@{k} {100 * expected[f'{way}_recall_{k}']:.2f} %" in line for k in (1, 5, 10))
    assert lines[3] == f"mean recall {100 * expected['mean_recall']:.2f} %"


def test_what_is_to_be_known_is_said(tmp_path: Path) -> None:
    stored = arrays()
    stored["text_embeddings"][:] = stored["text_embeddings"][0]  # the same sentence about all images
    stored["image_of_text"][-3:] = 0
    np.savez(tmp_path / "file.npz", **stored)
    result = evaluate_embeddings(tmp_path / "file.npz")
    assert result["image_to_text_recall_10"] == 0
    assert result["ties_at_random"]["image_to_text_recall_1"] == pytest.approx(57 / 60 / 20 + 3 / 60 / 20)
    without, ties, *_ = describe(result).splitlines()
    assert without.startswith("1 images have no caption")
    assert "ties count as wrong; in random order" in ties


def test_broken_files(tmp_path: Path) -> None:
    good = arrays()
    wrong = {
        "lacks image_of_text": {k: v for k, v in good.items() if k != "image_of_text"},
        r"image_embeddings \[20, 8\], text_embeddings \[60, 7\] and": good | {"text_embeddings": np.ones((60, 7))},
        r"image_of_text \[59\] do not go together": good | {"image_of_text": np.zeros(59, int)},
        r"image_of_text\[0\] is 20, but the 20 images are counted from 0 to 19": good
        | {"image_of_text": np.full(60, 20)},
        r"image_of_text\[0\] is -1": good | {"image_of_text": np.full(60, -1)},
        "whole numbers, not float64": good | {"image_of_text": np.zeros(60)},
        r"text_embeddings\[0\] is zero": good | {"text_embeddings": np.zeros((60, 8))},
        "not all finite": good | {"image_embeddings": np.full((20, 8), np.nan)},
        "there are 20 images and 0 texts": good
        | {"text_embeddings": np.ones((0, 8)), "image_of_text": np.ones(0, int)},
    }
    for message, content in wrong.items():
        np.savez(tmp_path / "file.npz", **content)
        with pytest.raises(UserError, match=message):
            evaluate_embeddings(tmp_path / "file.npz")
    np.savez(tmp_path / "file.npz", **good)
    file = f"--embeddings={tmp_path / 'file.npz'}"
    detection, retrieval = all_fail("remoteclip_jax.commands.evaluate", ("--task=detection", file), (file,))
    assert "give --workdir=RUN in place of --embeddings" in detection
    assert "lacks labels, templates" in retrieval
    assert "--task=retrieval" in retrieval
