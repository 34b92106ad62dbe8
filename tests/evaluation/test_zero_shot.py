"""The zero-shot evaluator against figures measured on genuine RemoteCLIP embeddings."""

from pathlib import Path

import numpy as np
import pytest

from remoteclip_jax.errors import UserError
from remoteclip_jax.evaluation.zero_shot import ensemble, evaluate_embeddings
from tests.command import fails, run
from tests.shared_data import SHARED, requires_shared

WHU = SHARED / "remoteclip_rn50" / "whu_rs19_embeddings.npz"


@requires_shared
@pytest.mark.parametrize(("templates", "top1"), [(["a satellite photo of a {}."], 0.9552), (None, 0.9542)])
def test_whu_rs19(templates: list[str] | None, top1: float) -> None:
    result = evaluate_embeddings(WHU, templates)
    assert result["images"] == 1005
    assert round(result["top1"], 4) == top1
    assert result["top5"] > result["top1"]


@requires_shared
def test_command_line() -> None:
    result = run("eval.py", f"--embeddings={WHU}", "--templates=a satellite photo of a {}.")
    assert "top-1 95.52 %" in result.stdout, result.stderr


@requires_shared
def test_unknown_template_is_named() -> None:
    with pytest.raises(UserError, match=r"no template 'a drawing of a \{\}'; it has 106"):
        evaluate_embeddings(WHU, ["a drawing of a {}"])


def test_ensemble_weighs_templates_equally_whatever_their_length() -> None:
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(4, 3, 8)).astype(np.float32)
    scaled = texts * rng.uniform(0.1, 10, (4, 3, 1)).astype(np.float32)
    np.testing.assert_allclose(ensemble(texts), ensemble(scaled), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(ensemble(texts), axis=-1), 1, rtol=1e-6)


def test_broken_files(tmp_path: Path) -> None:
    good = {
        "image_embeddings": np.ones((4, 8)),
        "labels": np.zeros(4, int),
        "templates": np.array(["{}"]),
        "text_embeddings": np.ones((1, 3, 8)),
    }
    wrong = {
        "lacks": {k: v for k, v in good.items() if k != "labels"},
        "together": good | {"image_embeddings": np.ones((4, 9))},
        "do not go": good | {"labels": np.full(4, 3)},
    }
    for message, arrays in wrong.items():
        np.savez(tmp_path / "file.npz", **arrays)
        with pytest.raises(UserError, match=message):
            evaluate_embeddings(tmp_path / "file.npz", None)
    (tmp_path / "text.npz").write_text("not an archive")
    assert "text.npz" in fails("eval.py", f"--embeddings={tmp_path / 'text.npz'}")
    assert "missing.npz" in fails("eval.py", f"--embeddings={tmp_path / 'missing.npz'}")
