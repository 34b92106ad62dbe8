"""Which images and captions a `contrast` run reads, and what it says about them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from remoteclip_jax.runs.data import RunData
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.tasks.contrast.config import ContrastConfig
from remoteclip_jax.tasks.contrast.data import read
from tests.data.sample_datasets import write_json, write_noise


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images to train on and two to validate on, beside a file of captions for each split."""
    for split, numbers in (("train", range(4)), ("val", range(4, 6))):
        images = []
        for i in numbers:
            write_noise(tmp_path / "data" / "images" / f"{i}.png", 40, seed=i)
            sentences = [{"raw": f"caption {j} of {i}"} for j in range(2)]
            images.append({"filename": f"images/{i}.png", "split": split, "sentences": sentences})
        write_json(tmp_path / "data" / f"{split}.json", {"images": images})
    return tmp_path / "data"


def data_of(folder: Path, **settings: Any) -> RunData:
    return read(ContrastConfig(**settings), RunDirectory(folder.parent / "run"))


def test_images_lie_beside_the_captions(folder: Path) -> None:
    """Where these are a file, several, or a folder."""
    for captions in (folder / "*.json", folder):
        data = data_of(folder, captions=str(captions))
        assert (len(data.train), len(data.val or ())) == (4, 2)
        assert "8 captions of 4 images to train on" in data.notes
    assert len(data_of(folder, captions=str(folder / "train.json")).train) == 4
    moved = shutil.copytree(folder, folder.parent / "moved")
    shutil.rmtree(folder / "images")
    assert len(data_of(folder, captions=str(folder), data_dir=str(moved)).train) == 4


def test_why_there_is_no_validation(folder: Path) -> None:
    data = data_of(folder, captions=str(folder / "train.json"))
    assert data.val is None
    assert "no validation: there is no split for it (--val_share=0.1 takes one from the training images)" in data.notes
    content = json.loads((folder / "train.json").read_text())
    write_json(folder / "val.json", {"images": [{**image, "split": "val"} for image in content["images"]]})
    data = data_of(folder, captions=str(folder))
    assert data.val is None
    assert any(note.startswith("no validation: all images of 'val' are trained on (") for note in data.notes)


def test_a_share_for_validation(folder: Path) -> None:
    data = data_of(folder, captions=str(folder / "train.json"), val_share=0.5)
    assert data.val is not None
    assert (len(data.train), len(data.val)) == (2, 2)
    assert not any(note.startswith("no validation") for note in data.notes)
    assert not {e.image for e in data.train.examples} & {e.image for e in data.val.examples}
