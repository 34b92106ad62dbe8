"""Damaged npz files: a one-line error, and no memory for sizes that a header merely claims."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from remoteclip_jax.clip.text_embeddings import TextEmbeddings, load_text_embeddings
from remoteclip_jax.errors import UserError
from remoteclip_jax.files.npz import load_arrays
from tests.mutations import damaged, refusal

VALUES = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_mutated_files_are_read_or_refused(save: Callable[..., None], tmp_path: Path) -> None:
    buffer = io.BytesIO()
    save(buffer, class_names=np.array(["ship", "dam", "golf field"]), embeddings=VALUES)
    for content in damaged(buffer.getvalue(), 150):
        (tmp_path / "t.npz").write_bytes(content)
        read: list[TextEmbeddings] = []
        message = refusal(lambda: read.append(load_text_embeddings(tmp_path / "t.npz", 8)))  # noqa: B023
        assert "t.npz" in message if message else np.isfinite(read[0].embeddings).all()


def header(shape: str, descr: str = "<f4") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}"
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117).encode() + b"\n"


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(2, 10**3)", "(-1,)", "(3, 9)", "(999999999999, 0)", "24"])
def test_a_false_size_in_the_header(shape: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("a.npy", header(shape) + VALUES.tobytes())
    with pytest.raises(UserError, match="not a readable npz file"):
        load_arrays(tmp_path / "t.npz", ("a",))


def test_a_false_size_in_the_archive(tmp_path: Path) -> None:
    """A terabyte according to the archive's directory and the header, but a few bytes in the file."""
    size = 2**40
    with zipfile.ZipFile(tmp_path / "t.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header(f"({size // 4},)"))
        archive.getinfo("a.npy").file_size = size + 128
    with pytest.raises(UserError, match="cannot be as long as the archive says"):
        load_arrays(tmp_path / "t.npz", ("a",))


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY", b"text"])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"t\.npz is not a readable npz file"):
        load_arrays(tmp_path / "t.npz", ("a",))
    with pytest.raises(UserError, match=r"is not a readable npz file: .*directory"):
        load_arrays(tmp_path, ("a",))
