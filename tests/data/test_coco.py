"""COCO files of other people's making: ids of any kind, and no way out of the data directory."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from remoteclip_jax.data.reading import default_classes, read_dataset, recognise, splits_of
from remoteclip_jax.errors import UserError
from tests.data.trees import SIZE, coco_content, write_coco, write_image

A_DAM, A_SHIP = [0.125, 0.25, 0.25, 0.5], [0.3, 0.45, 0.4, 0.5]


def annotation(**change: Any) -> dict[str, Any]:
    """`coco_content` with one annotation, changed."""
    item = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [4, 8, 16, 20]} | change
    return coco_content(annotations=[{key: value for key, value in item.items() if value != "absent"}])


@pytest.mark.parametrize("images", ["train", "images", "images/train"])
def test_ids_in_any_order_with_gaps(tmp_path: Path, images: str) -> None:
    root = write_coco(tmp_path, coco_content(), images=images)
    assert (recognise(root), splits_of(root)) == ("coco", ("train",))
    dataset = read_dataset(root, "train")
    assert dataset.classes == default_classes(root) == ("ship", "Dam")  # by id
    b, a = dataset.examples
    assert (b.image.name, b.labels.shape, b.boxes.shape) == ("b.jpg", (0,), (0, 4))
    assert (a.image.name, a.width, a.height, a.labels.tolist()) == ("a.jpg", SIZE, SIZE, [1, 0])
    assert (a.labels.dtype, a.boxes.dtype) == (np.int32, np.float32)
    np.testing.assert_allclose(a.boxes, [A_DAM, A_SHIP], atol=1e-6)


def test_categories_are_mapped_to_classes_by_name(tmp_path: Path) -> None:
    root = write_coco(tmp_path, coco_content())
    assert read_dataset(root, "train", classes=("dam", "bridge", "SHIP")).examples[1].labels.tolist() == [0, 2]
    with pytest.raises(UserError, match=r"instances_train.json: unknown class 'Dam'; .* nearest .* is 'ship'"):
        read_dataset(root, "train", classes=("ship",))


def test_the_classes_of_every_split_are_those_of_the_training_split(tmp_path: Path) -> None:
    """Another split may number or order the same categories otherwise; a label must mean the same class."""
    write_coco(tmp_path, coco_content())
    other = coco_content(categories=[{"id": 3, "name": "Dam"}, {"id": 90, "name": "ship"}])
    root = write_coco(tmp_path, other, split="val", images="val")
    val = read_dataset(root, "val")
    assert val.classes == ("ship", "Dam")
    assert val.examples[1].labels.tolist() == [0, 1]


def test_one_name_under_two_ids(tmp_path: Path) -> None:
    categories = [{"id": 0, "name": "ship"}, {"id": 3, "name": "ship"}, {"id": 90, "name": "Dam"}]
    dataset = read_dataset(write_coco(tmp_path, coco_content(categories=categories)), "train")
    assert (dataset.classes, dataset.examples[1].labels.tolist()) == (("ship", "Dam"), [1, 0])


def test_crowds_and_boxes_without_area_are_left_out_and_counted(tmp_path: Path) -> None:
    boxes = [[0, 0, 10, 20], [5, 5, 0, 9], [9, 9, -3, 4], [50, 50, 5, 5], [30, -10, 20, 30]]
    items = [{"image_id": 7, "category_id": 3, "bbox": box} for box in boxes]
    items += [{"image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1, "segmentation": {}}]
    dataset = read_dataset(write_coco(tmp_path, coco_content(annotations=items)), "train")
    assert [len(example.labels) for example in dataset.examples] == [0, 2]
    np.testing.assert_allclose(dataset.examples[1].boxes, [A_DAM, [0.875, 0.25, 0.25, 0.5]], atol=1e-6)
    assert sorted(dataset.notes) == [
        "train: 1 crowds left out (first in instances_train.json)",
        "train: 3 boxes without area dropped (first in instances_train.json)",
    ]


def test_an_image_in_a_sub_folder_and_one_whose_size_is_not_stated(tmp_path: Path) -> None:
    images = [{"id": 70, "file_name": "port/north/b.jpg"}, {"id": 7, "file_name": "a.jpg", "width": 0, "height": None}]
    root = write_coco(tmp_path, coco_content(images=images))
    write_image(root / "train/port/north/b.jpg", size=(8, 6))
    b, a = read_dataset(root, "train").examples
    assert (b.image, b.width, b.height) == (root / "train/port/north/b.jpg", 8, 6)
    np.testing.assert_allclose(a.boxes, [A_DAM, A_SHIP], atol=1e-6)


@pytest.mark.parametrize("name", ["../secret.jpg", "sub/../../secret.jpg", "/ABSOLUTE", "..\\secret.jpg", ".."])
def test_no_image_outside_the_data_directory_is_read(tmp_path: Path, name: str) -> None:
    secret = write_image(tmp_path / "secret.jpg")
    images = [{"id": 7, "file_name": name.replace("/ABSOLUTE", str(secret))}]
    root = write_coco(tmp_path / "data", coco_content(images=images))
    write_image(root / "secret.jpg")  # beside the images is out as well: what is above depends on the layout
    (root / "train/sub").mkdir()
    with pytest.raises(UserError, match=r"instances_train.json: .*(outside the data directory|no image)"):
        read_dataset(root, "train")


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in coco_content().items() if k != key}


A_JPG = {"id": 7, "file_name": "a.jpg"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "broken JSON"),
        ('{"images": [', "broken JSON"),
        ("\x00\x01", "broken JSON"),
        ("[" * 100_000, "broken JSON"),
        ([], "not in COCO's format"),
        ([coco_content()], "not in COCO's format"),
        ("null", "not in COCO's format"),
        ('"images"', "not in COCO's format"),
        (without("images"), "'images'"),
        (without("annotations"), "'annotations'"),
        (without("categories"), "'categories'"),
        (coco_content(images={}), "the split 'train' is empty|image 7, which is not in the file"),
        (coco_content(images=[], annotations=[]), "the split 'train' is empty"),
        (coco_content(images=None), "not in COCO's format"),
        (coco_content(images=[7]), "not in COCO's format"),
        (coco_content(images=[{"id": 7}]), "'file_name'"),
        (coco_content(images=[A_JPG | {"id": [7]}]), "not in COCO's format"),
        (coco_content(images=[A_JPG, A_JPG]), "two images have the same id"),
        (coco_content(images=[A_JPG | {"file_name": "c.jpg"}]), "no image 'c.jpg'"),
        (coco_content(images=[A_JPG | {"file_name": ""}]), "no image ''"),
        (coco_content(images=[A_JPG | {"file_name": None}]), "not in COCO's format|no image"),
        (coco_content(images=[A_JPG | {"file_name": "a\x00.jpg"}]), "not in COCO's format|no image"),
        (coco_content(images=[A_JPG | {"file_name": "a" * 5000}]), "not in COCO's format|no image"),
        (coco_content(images=[A_JPG | {"width": 80, "height": 40}]), "says 80x40 pixels for .*a.jpg, which has 40x40"),
        (coco_content(images=[A_JPG | {"width": -40, "height": -40}]), "says -40x-40"),
        (coco_content(images=[A_JPG | {"width": "wide", "height": 40}]), "not in COCO's format"),
        (coco_content(images=[A_JPG | {"width": float("inf"), "height": 40}]), "not in COCO's format"),
        (coco_content(categories=[{"id": 3}]), "'name'"),
        (coco_content(categories=[{"name": "ship"}]), "'id'"),
        (coco_content(categories=[{"id": 3, "name": "ship"}, {"id": "4", "name": "dam"}]), "not in COCO's format"),
        (
            coco_content(categories=[{"id": 3, "name": "ship"}, {"id": 3, "name": "dam"}]),
            "two categories have the same",
        ),
        (coco_content(categories=[{"id": 3, "name": "ship"}]), "category 90, which is not in the file"),
        (annotation(image_id=8), "image 8, which is not in the file"),
        (annotation(category_id=4), "category 4, which is not in the file"),
        (annotation(category_id="absent"), "'category_id'"),
        (annotation(bbox="absent"), "'bbox'"),
        (annotation(bbox=None), "not in COCO's format"),
        (annotation(bbox=[1, 2, 3]), "not in COCO's format"),
        (annotation(bbox=[[1, 2], [3, 4]]), "not in COCO's format"),
        (annotation(bbox=["a", 2, 3, 4]), "not in COCO's format"),
        (annotation(bbox=[1, 2, float("nan"), 4]), "a box of 'a.jpg' is not finite"),
        (annotation(bbox=[1, 2, 3, float("inf")]), "a box of 'a.jpg' is not finite"),
        (annotation(bbox=[1, 2, 3, 1e300]), "a box of 'a.jpg' is not finite"),
        (annotation(bbox=[1, 2, 3, 10**400]), "not in COCO's format"),
    ],
)
def test_what_is_not_in_the_format_is_refused_by_name(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_dataset(write_coco(tmp_path, content), "train")
    assert "instances_train.json" in str(caught.value) or "is empty" in str(caught.value)


def test_a_directory_named_like_the_file_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "annotations/instances_train.json").mkdir(parents=True)
    write_coco(tmp_path, coco_content(), split="val", images="val")
    (tmp_path / "annotations/instances_val.json").write_bytes(json.dumps(coco_content()).encode("utf-16"))
    for split, message in (("train", "directory"), ("val", "broken JSON")):
        with pytest.raises(UserError, match=f"instances_{split}.json: .*{message}"):
            read_dataset(tmp_path, split, classes=("ship", "dam"))


def test_a_missing_split_names_those_there_are(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_content())
    with pytest.raises(UserError, match="has no split 'val'; it has train"):
        read_dataset(tmp_path, "val")
