"""Names of splits as people and tools write them."""

from pathlib import Path

import pytest

from remoteclip_jax.data.reading import dataset_summary, default_classes, read_dataset, split_names
from remoteclip_jax.data.splits import component_splits, find_split, split_role
from remoteclip_jax.errors import UserError
from tests.data.sample_datasets import (
    coco_content,
    write_class_folders,
    write_coco,
    write_flat,
    write_image,
    write_json,
    write_lines,
    write_voc,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("train2017", "train"),
        ("valid", "val"),
        ("validation", "val"),
        ("val2017", "val"),
        ("VAL", "val"),
        ("testing", "test"),
        ("test_2017", "test"),
        ("trainval", "trainval"),
        ("minival", None),
        ("2017", None),
        ("", None),
        ("test-dev2017", None),
    ],
)
def test_split_role(name: str, expected: str | None) -> None:
    assert split_role(name) == expected


def test_exact_names_take_precedence_and_ambiguity_is_an_error() -> None:
    assert find_split("val", ["valid", "val"]) == "val"
    assert find_split("val", ["train", "validation"]) == "validation"
    assert find_split("valid", ["val2017"]) == "val2017"
    assert find_split("val2014", ["val2017"]) is None
    assert find_split("train2014", ["train2014", "train2017"]) == "train2014"
    with pytest.raises(UserError, match="'train' may be 'train2014' or 'train2017': name the one"):
        find_split("train", ["train2014", "train2017"])


def test_a_single_split_with_another_name_is_for_training() -> None:
    assert find_split("train", ["default"]) == "default"
    assert find_split("val", ["default"]) is None
    assert find_split("train", ["test"]) is None
    assert find_split("train", ["a", "b"]) is None


def test_joined_splits() -> None:
    splits = ["train", "valid", "test"]
    assert component_splits("trainval", splits) == ("train", "valid")
    assert component_splits("train+val", splits) == ("train", "valid")
    assert component_splits("trainval", [*splits, "trainval"]) == ("trainval",)
    assert (
        component_splits("train+night", splits)
        == component_splits("night", splits)
        == component_splits("train+", splits)
        == ()
    )


def test_synonyms_in_every_layout(tmp_path: Path) -> None:
    write_flat(write_flat(tmp_path / "dior", "a"), "b", split="valid")
    write_class_folders(write_class_folders(tmp_path / "folder", "training", port=1), "validation", port=1)
    for split in ("train2017", "val2017"):
        write_coco(tmp_path / "coco", coco_content(), split=split, images=split)
    for name in ("dior", "folder", "coco"):
        for split in ("train", "val", "valid"):
            dataset = read_dataset(tmp_path / name, split)
            assert dataset.split == split  # the requested name, since files are written under it
            assert dataset.examples[0].image.is_relative_to(tmp_path / name)
    line = dataset_summary(tmp_path / "coco", [read_dataset(tmp_path / "coco", split) for split in ("train", "val")])
    assert line.endswith("coco: train 2 images (its split 'train2017'), val 2 images (its split 'val2017')")


def test_joined_splits_have_unique_image_ids(tmp_path: Path) -> None:
    for split in ("train", "val"):
        root = write_coco(tmp_path, coco_content(), split=split, images=split)
    both = read_dataset(root, "trainval")
    assert [example.image.parent.name for example in both.examples] == ["train", "train", "val", "val"]
    assert [e.annotations.image_id for e in both.examples] == ["train/b", "train/a", "val/b", "val/a"]
    assert (both.split, both.source_split) == ("trainval", "train+val")


def test_data_without_splits_are_for_training_with_a_note(tmp_path: Path) -> None:
    write_flat(tmp_path / "dior", "a", "b")
    (tmp_path / "dior/splits/train.txt").unlink()
    write_class_folders(tmp_path / "folder", ".", port=2)
    for name in ("one.json", "annotations/instances_default.json", "_annotations.coco.json"):
        root = tmp_path / name.replace("/", "-")
        write_image(root / "images/a.jpg")
        write_image(root / "images/b.jpg")
        write_json(root / name, coco_content())
    write_lines(tmp_path / "yolo/labels/a.txt", "0 0.5 0.5 0.2 0.2")
    for stem in "ab":
        write_image(tmp_path / f"yolo/images/{stem}.jpg")
    roots = sorted(tmp_path.iterdir())
    assert len(roots) == 6
    for root in roots:
        dataset = read_dataset(root, "train")
        assert len(dataset) == 2
        assert "train: there are no splits here, so all images are read as 'train'" in dataset.notes
        with pytest.raises(UserError, match="has no split 'val'"):
            read_dataset(root, "val")


def test_xml_beside_the_images(tmp_path: Path) -> None:
    for directory in ("export/train", "export/valid", "flat"):
        for stem in "ab":
            write_image(tmp_path / directory / f"{stem}.jpg")
        write_voc(tmp_path / directory / "a.xml")
    assert split_names(tmp_path / "export") == ("train", "valid")
    for dataset in (read_dataset(tmp_path / "export", "val"), read_dataset(tmp_path / "flat", "train")):
        assert [len(example.labels) for example in dataset.examples] == [1, 0]
        assert "images without an annotation file" in " ".join(dataset.notes)
        assert dataset.layout == "VOC (annotations beside the images)"
    write_voc(tmp_path / "flat/lost.xml")
    note = "train: 1 annotation files without an image, not used (first in lost.xml)"
    assert note in read_dataset(tmp_path / "flat", "train").notes


def test_folders_of_images_are_not_classes(tmp_path: Path) -> None:
    for name in ("images", "train"):
        write_image(tmp_path / name / name / "a.jpg")
        with pytest.raises(UserError, match="no data set here"):
            split_names(tmp_path / name)


def test_other_json_files_are_not_coco(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path, "train", port=1)
    for name in ("train.json", "classes.json"):
        write_json(root / name, {"images": [], "port": 3})
    assert read_dataset(root, "train").layout == "class folders"


def test_lists_of_classes_are_not_splits(tmp_path: Path) -> None:
    root = write_flat(tmp_path, "a")
    for name in ("ship_train", "airplane_trainval", "classes"):
        write_lines(root / f"splits/{name}.txt", "a 1")
    write_lines(root / "splits/night.txt", "a")
    assert split_names(root) == ("train", "night")
    assert len(read_dataset(root, "night")) == 1


def test_classes_come_from_the_training_split_whatever_its_name(tmp_path: Path) -> None:
    write_class_folders(write_class_folders(tmp_path, "test", a=1), "training", b=1, a=1)
    assert default_classes(tmp_path) == ("a", "b")
