"""Classes held out: no image that shows one is trained on, and labels still name what they named."""

import contextlib
import dataclasses
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from remoteclip_jax.data.classes import DIOR_CLASSES
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.tasks.detect.config import PRESETS
from remoteclip_jax.tasks.detect.data import read
from remoteclip_jax.tasks.detect.novel import without_classes, without_images_of
from remoteclip_jax.tasks.detect.workload import make_batches


def dataset(*labels: list[int]) -> Dataset:
    boxes = np.full((1, 4), 0.5, np.float32)
    examples = [
        Example(Path(f"{i}.jpg"), 10, 10, boxes.repeat(len(one), 0), np.array(one, np.int32))
        for i, one in enumerate(labels)
    ]
    return Dataset("train", ("ship", "wind mill", "dam", "car"), tuple(examples))


def test_images_that_show_a_novel_class_are_left_out() -> None:
    kept = without_images_of(dataset([0, 1], [3], [2], []), ["WindMill"])
    assert [example.image.name for example in kept.examples] == ["1.jpg", "2.jpg", "3.jpg"]
    assert kept.classes == ("ship", "wind mill", "dam", "car")
    assert kept.notes == ("train: 1 of 4 images left out, which show novel classes",)


def test_labels_follow_the_classes_that_are_left() -> None:
    base = without_classes(dataset([0, 3], [2], []), ["windmill"])
    assert base.classes == ("ship", "dam", "car")
    assert [example.labels.tolist() for example in base.examples] == [[0, 2], [1], []]


def test_what_cannot_be_held_out() -> None:
    with pytest.raises(UserError, match="--novel: unknown class 'shop'; the nearest known class is 'ship'"):
        without_images_of(dataset([0]), ["shop"])
    with pytest.raises(UserError, match="every image of the split 'train' shows one of ship"):
        without_images_of(dataset([0], [0, 1]), ["ship"])
    with pytest.raises(UserError, match="none is left to learn"):
        without_classes(dataset([]), ["ship", "windmill", "dam", "car"])


def test_no_novel_box_is_in_training(synthetic_data: Path, tmp_path: Path) -> None:
    """Neither in what a run reads to train and to validate on, nor in the batches of both phases: every image of these
    is one of the annotated images without the novel classes."""
    names = ("airport", "basketballcourt", "groundtrackfield", "windmill")
    config = dataclasses.replace(PRESETS["tiny"], data_dir=str(synthetic_data), novel=names)
    run = RunDirectory(tmp_path / "run")
    data = read(config, run)
    assert data.val is not None
    shown = {
        path.stem: {element.text for element in ElementTree.parse(path).iter("name")}
        for path in (synthetic_data / "annotations").glob("*.xml")
    }
    for split in (data.train, data.val):
        assert len(split) > 0
        assert all(not shown[example.image.stem] & set(names) for example in split.examples)
    assert any(shown[path.stem] & set(names) for path in (synthetic_data / "images").glob("train_*"))
    assert data.train.classes == tuple(name for name in DIOR_CLASSES if name not in names)
    with contextlib.closing(make_batches(config, data.train)(0, 2)) as batches:
        crops, _, *windows = (next(batches) for _ in range(4))
    present = {int(label) for example in data.train.examples for label in example.labels}
    assert {int(label) for label in crops["label"]} <= {-1, *present}
    for batch in windows:
        assert {int(label) for label in batch["labels"][batch["real"]]} <= present
    assert max(present) < len(DIOR_CLASSES) - len(names)
