"""Class embeddings as a file: round trip, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from remoteclip_jax.clip.text_embeddings import TextEmbeddings, load_text_embeddings
from remoteclip_jax.errors import UserError
from tests.shared_data import SHARED, requires_shared


def rows(k: int = 3, d: int = 8) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(k, d)).astype(np.float32)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def test_round_trip(tmp_path: Path) -> None:
    texts = TextEmbeddings(("ship", "dam", "golf field"), rows())
    texts.save(tmp_path / "t.npz")
    again = load_text_embeddings(tmp_path / "t.npz", dim=8)
    assert again.class_names == texts.class_names
    np.testing.assert_allclose(again.embeddings, texts.embeddings, atol=1e-7)


@requires_shared
def test_genuine_dior_embeddings() -> None:
    texts = load_text_embeddings(SHARED / "remoteclip_rn50" / "dior_text.npz", dim=1024)
    cosines = texts.embeddings @ texts.embeddings.T
    assert len(texts.class_names) == 20
    assert cosines[~np.eye(20, dtype=bool)].mean() == pytest.approx(0.76, abs=0.01)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"class_names": ["a", "a", "b"], "embeddings": rows()}, "'a' occurs twice"),
        ({"class_names": ["a", "b"], "embeddings": rows()}, "do not go with 2 class names"),
        ({"class_names": ["a", "b", "c"], "embeddings": rows(d=9)}, "9 dimensions, the image tower has 8"),
        ({"class_names": ["a", "b", "c"], "embeddings": rows() * np.nan}, "embeddings are not all finite"),
        ({"class_names": ["a", "b", "c"], "embeddings": rows() * 0}, "an embedding is zero"),
        ({"class_names": ["a", "b", "c"], "embeddings": rows() * 1e30}, "zero or too long"),
        ({"class_names": ["a", "b", "c"], "embeddings": rows().astype(float) * 1e300}, "not all finite"),
        ({"class_names": ["a", "b", "c"], "embeddings": rows() * 1j}, "not numbers"),
        ({"class_names": "abc", "embeddings": rows()}, "not a list of strings"),
        ({"class_names": [1, 2, 3], "embeddings": rows()}, "not a list of strings"),
        ({"class_names": ["a", " ", "c"], "embeddings": rows()}, "a class name is empty"),
        ({"class_names": [b"a", b"\xff", b"c"], "embeddings": rows()}, "not text in UTF-8"),
        ({"class_names": ["a", "b", "c"], "embeddings": [["x"], ["y"], ["z"]]}, "not numbers"),
        ({"class_names": ["a", "b", "c"]}, "lacks embeddings"),
    ],
)
def test_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(UserError, match=message):
        load_text_embeddings(tmp_path / "t.npz", dim=8)


def test_names_as_bytes(tmp_path: Path) -> None:
    names = ("ship", "dam", "船")
    np.savez(tmp_path / "t.npz", class_names=[name.encode() for name in names], embeddings=rows())
    assert load_text_embeddings(tmp_path / "t.npz").class_names == names


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", class_names=np.array(["a", {}], dtype=object), embeddings=rows(2))
    with pytest.raises(UserError, match=r"t\.npz is not a readable npz file: class_names\.npy holds Python objects"):
        load_text_embeddings(tmp_path / "t.npz")
