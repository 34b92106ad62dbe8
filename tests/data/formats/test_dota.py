"""DOTA, as its archives unpack, as MMRotate cuts it, and with the quirks of users' data."""

from pathlib import Path

import numpy as np
import pytest

from remoteclip_jax.data.formats.dota import DOTA_CLASSES, parse_dota
from remoteclip_jax.data.reading import dataset_summary, default_classes, read_dataset, recognised_format, split_names
from remoteclip_jax.errors import UserError
from tests.data.sample_datasets import SIZE, write_image, write_lines

SHIP = "4 8 20 8 20 28 4 28 ship 0"
ORIENTED = "10 0 20 10 10 20 0 10 small-vehicle 0"
HEADER = ("imagesource:GoogleEarth", "gsd:0.146343590398")


def dota(root: Path, *lines: str, split: str = "train", labels: str = "labelTxt", name: str = "P0001") -> Path:
    write_image(root / split / "images" / f"{name}.png")
    write_lines(root / split / labels / f"{name}.txt", *lines)
    return root


def test_boxes_labels_and_annotations(tmp_path: Path) -> None:
    root = dota(dota(tmp_path, *HEADER, SHIP, "", ORIENTED, "30 30 50 30 50 50 30 50 ship 1"), SHIP, split="val")
    assert (recognised_format(root), split_names(root)) == ("dota", ("train", "val"))
    assert default_classes(root) == ("small-vehicle", "ship")
    dataset = read_dataset(root, "train")
    (example,) = dataset.examples
    np.testing.assert_allclose(example.boxes * SIZE, [[12, 18, 16, 20], [10, 10, 20, 20]], atol=1e-5)
    assert (example.labels.tolist(), example.ignored_labels.tolist()) == ([1, 0], [1])
    a = example.annotations
    assert a is not None
    np.testing.assert_array_equal(a.boxes, [[4, 8, 16, 20], [0, 0, 20, 20], [30, 30, 20, 20]])  # not clipped
    assert (a.difficult.tolist(), a.crowd.any(), a.image_id) == ([False, False, True], False, "P0001")
    assert dataset.notes == (
        "train: 1 oriented boxes replaced by the upright boxes that enclose them (first in P0001.txt)",
        "train: 1 difficult objects, ignored in training and in evaluation (first in P0001.txt)",
    )
    assert dataset_summary(root, [dataset]) == f"data: DOTA in {root}: train 1 images"


def test_classes_are_in_the_published_order_and_those_of_all_splits(tmp_path: Path) -> None:
    root = dota(tmp_path, SHIP, "0 0 9 0 9 9 0 9 zebra 0", "0 0 9 0 9 9 0 9 Storage-Tank 0", "broken")
    dota(root, "0 0 9 0 9 9 0 9 plane 0", "0 0 9 0 9 9 0 9 apple 0", split="val")
    assert default_classes(root) == ("plane", "ship", "Storage-Tank", "apple", "zebra")
    assert len(DOTA_CLASSES) == len(set(DOTA_CLASSES)) == 18


@pytest.mark.parametrize(
    ("labels", "layout"),
    [
        ("labelTxt", "DOTA"),
        ("labelTxt-v1.0/labelTxt", "DOTA (labelTxt-v1.0)"),
        ("labelTxt-v1.5/DOTA-v1.5_train", "DOTA (labelTxt-v1.5)"),
        ("labelTxt-v1.0/Train_Task2_gt/trainset_reclabelTxt", "DOTA (labelTxt-v1.0)"),
        ("annfiles", "DOTA (annfiles)"),
    ],
)
def test_folders_of_labels(tmp_path: Path, labels: str, layout: str) -> None:
    root = dota(tmp_path, SHIP, labels=labels)
    dataset = read_dataset(root, "train", "auto")
    assert (recognised_format(root), dataset.layout) == ("dota", layout)
    assert [example.labels.tolist() for example in dataset.examples] == [[0]]


def test_oriented_labels_and_the_latest_version_are_used_and_the_others_named(tmp_path: Path) -> None:
    root = dota(tmp_path, SHIP, labels="labelTxt-v1.0/labelTxt")
    for labels in ("labelTxt-v1.0/Train_Task2_gt/trainset_reclabelTxt", "labelTxt-v1.5/DOTA-v1.5_train_hbb"):
        dota(root, SHIP, SHIP, SHIP, labels=labels)
    dota(root, SHIP, SHIP, labels="labelTxt-v1.5/DOTA-v1.5_train")
    dataset = read_dataset(root, "train")
    assert len(dataset.examples[0].labels) == 2
    assert dataset.notes == (
        "train: 3 label folders not used in favour of train/labelTxt-v1.5/DOTA-v1.5_train "
        "(first in train/labelTxt-v1.0/Train_Task2_gt/trainset_reclabelTxt)",
    )


def test_without_splits_and_with_splits_inside(tmp_path: Path) -> None:
    write_image(tmp_path / "flat/images/a.png")
    write_lines(tmp_path / "flat/labelTxt/a.txt", SHIP)
    assert split_names(tmp_path / "flat") == ("all",)
    assert len(read_dataset(tmp_path / "flat", "train")) == 1
    for split in ("train", "val"):
        write_image(tmp_path / f"inside/images/{split}/a.png")
        write_lines(tmp_path / f"inside/labelTxt/{split}/a.txt", SHIP)
    assert split_names(tmp_path / "inside") == ("train", "val")
    assert len(read_dataset(tmp_path / "inside", "val")) == 1


def test_images_in_parts_and_other_files(tmp_path: Path) -> None:
    """The archives of the images unpack to `part1/images`, `part2/images`, …"""
    root = dota(tmp_path, SHIP)
    for part in ("part1", "part2"):
        write_image(root / f"train/images/{part}/images/{part}.png")
        write_lines(root / f"train/labelTxt/{part}.txt", ORIENTED)
    write_image(root / "train/images/background.png")
    write_image(root / "test/images/unlabelled.png")  # as published: the labels of the test split are secret
    write_lines(root / "train/labelTxt/empty.txt")
    write_image(root / "train/images/empty.png")
    write_lines(root / "train/labelTxt/lost.txt", SHIP)
    assert split_names(root) == ("train",)
    dataset = read_dataset(root, "train")
    counts = {example.image.stem: len(example.labels) for example in dataset.examples}
    assert counts == {"P0001": 1, "part1": 1, "part2": 1, "background": 0, "empty": 0}
    assert "train: 1 label files without an image, not used (first in lost.txt)" in dataset.notes
    assert "train: 1 images without a label file, read as background (first in background.png)" in dataset.notes


@pytest.mark.parametrize(
    ("rest", "name", "difficult"),
    [
        ("ship 0", "ship", False),
        ("ship 2", "ship", True),
        ("ship 00", "ship", False),
        ("ship", "ship", False),
        ("storage tank 1", "storage tank", True),
        ("storage  tank", "storage  tank", False),
        ("port 7 0", "port 7", False),
        ("7 1", "7", True),
    ],
)
def test_the_class_is_what_is_between_the_corners_and_difficult(
    tmp_path: Path, rest: str, name: str, difficult: bool
) -> None:
    path = write_lines(tmp_path / "a.txt", f"1.5 2 3\t2 3 4 1.5 4 {rest}")
    (item,) = parse_dota(path)
    assert (item.name, item.difficult, item.is_upright) == (name, difficult, True)
    assert item.corners.tolist() == [[1.5, 2], [3, 2], [3, 4], [1.5, 4]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("4 8 20 8 20 28 4 28", "is not `x1 y1"),
        ("4 8 20 8 20 28 4 28 1", "is not `x1 y1"),
        ("4 8 20 8 20 28 4 ship 0", "is not `x1 y1"),
        ("ship 4 8 20 8 20 28 4 28 0", "is not `x1 y1"),
        ("4 8 20 8 20 28 4 nan ship 0", "a coordinate is not finite"),
        ("4 8 20 8 20 28 4 1e300 ship 0", "a coordinate is not finite"),
    ],
)
def test_invalid_lines_are_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"train/labelTxt/P0001.txt, line 3: .*{message}.*correct or remove the line"):
        read_dataset(dota(tmp_path, "gsd:null", SHIP, line), "train")


def test_unknown_classes_and_boxes_as_fractions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"P0001.txt: unknown class 'ship'; the nearest known class is 'shop'"):
        read_dataset(dota(tmp_path / "a", SHIP), "train", classes=("shop",))
    fractions = ["0.5 0.5 0.9 0.5 0.9 0.9 0.5 0.9 ship 0"] * 20
    with pytest.raises(UserError, match="look like corners as fractions of the image; write them as corners in pixels"):
        read_dataset(dota(tmp_path / "b", *fractions), "train")
