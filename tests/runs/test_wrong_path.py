"""A neighbour of the directory that was meant is called by name."""

from pathlib import Path

import pytest

import remoteclip_jax as rc
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.wrong_path import check_directory


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("RemoteCLIP-RN50.pt", "model.SAFETENSORS", "texts.npz", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "runs" / "a" / "checkpoints" / "30" / "default").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "config.json").touch()
    (tmp_path / "download").mkdir()
    (tmp_path / "download" / "x.bin").touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("RemoteCLIP-RN50.pt", "RN50.pt: this is a PyTorch checkpoint: convert it first (python -m convert --check"),
        ("model.SAFETENSORS", "this is a PyTorch checkpoint: convert it first"),
        ("texts.npz", "this is an npz of arrays, which --text_embeddings takes"),
        ("notes.txt", "this is a file; expected"),
        ("nowhere", "no such directory; expected"),
        ("runs", "this is a folder of a; name one of them"),
        ("runs/a/checkpoints", "runs/a; name the run itself"),
        ("runs/a/checkpoints/30", "runs/a; name the run itself"),
        ("runs/a/checkpoints/30/default", "runs/a; name the run itself"),
        ("download", "x.bin in it is a PyTorch checkpoint"),
    ],
)
def test_what_was_named_instead(name: str, message: str, place: Path) -> None:
    for load in (rc.load, rc.load_detector):
        with pytest.raises(UserError) as caught:
            load(place / name)
        assert name in str(caught.value)
        assert message in str(caught.value)


def test_what_may_be_meant_is_left_alone(place: Path) -> None:
    for name in ("runs/a", "empty"):
        check_directory(place / name, "a run")
