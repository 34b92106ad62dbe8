"""Class folders: the folder is the label, and a class that training does not have is an error."""

from pathlib import Path

import numpy as np
import pytest

from remoteclip_jax.data.reading import default_classes, read_dataset, recognised_format, split_names
from remoteclip_jax.errors import UserError
from tests.data.sample_datasets import write_class_folders, write_image
from tests.shared_data import SHARED, requires_shared


def test_one_object_fills_each_image(tmp_path: Path) -> None:
    root = write_class_folders(write_class_folders(tmp_path, "train", port=2, Airport=1), "val", port=1)
    write_image(root / "train/port/wide.png", size=(9, 5))
    (root / "train/port/notes.txt").write_text("not a scene")
    assert (recognised_format(root), split_names(root)) == ("folder", ("train", "val"))
    dataset = read_dataset(root, "train")
    assert (dataset.classes, dataset.has_boxes, dataset.notes) == (("Airport", "port"), False, ())
    names = [example.image.name for example in dataset.examples]
    assert names == ["Airport_0.jpg", "port_0.jpg", "port_1.jpg", "wide.png"]
    assert [example.labels.tolist() for example in dataset.examples] == [[0], [1], [1], [1]]
    assert (dataset.examples[3].width, dataset.examples[3].height) == (9, 5)
    for example in dataset.examples:
        assert (example.labels.dtype, example.boxes.dtype) == (np.int32, np.float32)
        assert example.boxes.tolist() == [[0.5, 0.5, 1, 1]]


def test_labels_mean_the_same_in_every_split(tmp_path: Path) -> None:
    root = write_class_folders(write_class_folders(tmp_path, "train", beach=1, port=1), "val", Port=1)
    val = read_dataset(root, "val")
    assert (val.classes, val.examples[0].labels.tolist()) == (("beach", "port"), [1])


def test_links_and_given_class_names(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "real", "train", sea_port=1)
    (tmp_path / "linked").symlink_to(root)
    (tmp_path / "mixed/train").mkdir(parents=True)
    (tmp_path / "mixed/train/SeaPort").symlink_to(root / "train/sea_port")
    for name in ("linked", "mixed"):
        dataset = read_dataset(tmp_path / name, "train", classes=("beach", "Sea Port"))
        assert [example.labels.tolist() for example in dataset.examples] == [[1]]


def test_hidden_files_are_neither_classes_nor_images(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path, "train", port=1)
    for name in ("train/.thumbnails/x.jpg", ".cache/port/x.jpg", "train/port/._port_0.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\x00")
    assert (split_names(root), default_classes(root)) == (("train",), ("port",))
    assert len(read_dataset(root, "train")) == 1


def test_a_class_that_training_does_not_have(tmp_path: Path) -> None:
    root = write_class_folders(write_class_folders(tmp_path, "train", port=1, beach=1), "val", ports=1)
    with pytest.raises(UserError, match="val/ports: unknown class 'ports'; the nearest known class is 'port'"):
        read_dataset(root, "val")


def test_empty_missing_and_broken(tmp_path: Path) -> None:
    root = write_class_folders(write_class_folders(tmp_path, "train", port=1), "val", port=0)
    with pytest.raises(UserError, match="the split 'val' is empty"):
        read_dataset(root, "val")
    with pytest.raises(UserError, match="has no split 'test'; it has train, val"):
        read_dataset(root, "test")
    (root / "train/port/port_1.jpg").write_text("not a picture")
    with pytest.raises(UserError, match=r"train/port/port_1.jpg: cannot be read as an image"):
        read_dataset(root, "train")
    with pytest.raises(UserError, match="no data set here"):
        read_dataset(write_class_folders(tmp_path / "bare", "train", port=0), "train")


@requires_shared
@pytest.mark.parametrize(("split", "images"), [("train", 720), ("val", 133)])
def test_real_scenes(split: str, images: int) -> None:
    dataset = read_dataset(SHARED / "whu_rs19", split)
    assert (len(dataset), len(dataset.classes)) == (images, 19)
    assert {int(label) for example in dataset.examples for label in example.labels} == set(range(19))
