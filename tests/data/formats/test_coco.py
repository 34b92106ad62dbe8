"""COCO files from many tools: ids of any kind, and no image outside the data directory."""

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from remoteclip_jax.data.reading import default_classes, read_dataset, recognised_format, split_names
from remoteclip_jax.errors import UserError
from tests.data.sample_datasets import SIZE, coco_content, write_coco, write_image, write_json

A_DAM, A_SHIP = [0.125, 0.25, 0.25, 0.5], [0.3, 0.45, 0.4, 0.5]


def annotation(**change: Any) -> dict[str, Any]:
    """`coco_content` with one annotation, changed."""
    item = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [4, 8, 16, 20]} | change
    return coco_content(annotations=[{key: value for key, value in item.items() if value != "absent"}])


@pytest.mark.parametrize("images", ["train", "images", "images/train"])
def test_ids_in_any_order_with_gaps(tmp_path: Path, images: str) -> None:
    root = write_coco(tmp_path, coco_content(), images=images)
    assert (recognised_format(root), split_names(root)) == ("coco", ("train",))
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
    """Another split may number the same categories differently, but a label must mean the same class."""
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


def test_crowds_are_ignored_and_all_annotations_are_kept_for_evaluation(tmp_path: Path) -> None:
    boxes = [[0, 0, 10, 20], [5, 5, 0, 9], [9, 9, -3, 4], [50, 50, 5, 5], [30, -10, 20, 30]]
    items = [{"id": 2 * i, "image_id": 7, "category_id": 3, "bbox": box} for i, box in enumerate(boxes)]
    items[0]["area"] = 111.5
    items += [{"id": 99, "image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1, "segmentation": {}}]
    dataset = read_dataset(write_coco(tmp_path, coco_content(annotations=items)), "train")
    assert [len(example.labels) for example in dataset.examples] == [0, 2]
    example = dataset.examples[1]
    np.testing.assert_allclose(example.boxes, [A_DAM, [0.875, 0.25, 0.25, 0.5]], atol=1e-6)
    np.testing.assert_allclose(example.ignored, [[0.1125, 0.1125, 0.225, 0.225]], atol=1e-6)
    assert example.ignored_labels.tolist() == [0]
    annotations = example.annotations
    assert annotations is not None
    assert annotations.boxes.dtype == np.float64
    assert annotations.boxes.tolist() == [*boxes, [0, 0, 9, 9]]
    assert annotations.areas.tolist() == [111.5, 0, -12, 25, 600, 81]  # the file's own first
    assert annotations.crowd.tolist() == [False] * 5 + [True]
    assert not annotations.difficult.any()
    assert (annotations.image_id, annotations.width, annotations.height) == (7, SIZE, SIZE)
    assert "train: 1 crowds ignored, as neither objects nor false positives" in " ".join(dataset.notes)
    assert "train: 3 boxes without area dropped (first in instances_train.json, image 7)" in dataset.notes


@pytest.mark.parametrize("key", ["difficult", "ignore"])
def test_difficult_objects_are_ignored(tmp_path: Path, key: str) -> None:
    """COCO has no such key; tools that convert VOC write one of the two."""
    items = [{"id": i, "image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9], key: i} for i in range(2)]
    dataset = read_dataset(write_coco(tmp_path, coco_content(annotations=items)), "train")
    example = dataset.examples[1]
    assert (len(example.labels), len(example.ignored_labels)) == (1, 1)
    assert example.annotations is not None
    assert example.annotations.difficult.tolist() == [False, True]
    assert dataset.notes == (
        "train: 1 difficult objects, ignored in training and in evaluation "
        "(first in instances_train.json, annotation 1)",
    )


def test_category_and_image_ids_of_the_file(tmp_path: Path) -> None:
    root = write_coco(tmp_path, coco_content())
    assert read_dataset(root, "train").category_ids == (3, 90)
    assert read_dataset(root, "train", classes=("car", "dam", "bridge", "ship")).category_ids == (91, 90, 92, 3)
    assert [e.annotations.image_id for e in read_dataset(root, "train").examples if e.annotations] == [70, 7]


def as_strings(content: dict[str, Any], *places: tuple[str, str]) -> dict[str, Any]:
    for part, key in places:
        content[part] = [item | {key: str(item[key])} for item in content[part]]
    return content


@pytest.mark.parametrize(
    "places",
    [
        [("images", "id")],
        [("annotations", "image_id")],
        [("annotations", "category_id")],
        [("categories", "id"), ("images", "id")],
    ],
)
def test_ids_as_strings_and_as_numbers(tmp_path: Path, places: list[tuple[str, str]]) -> None:
    content = as_strings(coco_content(), *places)
    dataset = read_dataset(write_coco(tmp_path, content), "train")
    assert [example.labels.tolist() for example in dataset.examples] == [[], [1, 0]]
    assert dataset.category_ids == (3, 90)
    assert [e.annotations.image_id for e in dataset.examples if e.annotations] == [i["id"] for i in content["images"]]


def test_ids_that_are_not_numbers(tmp_path: Path) -> None:
    content = coco_content(images=[{"id": "scene-7", "file_name": "a.jpg"}, {"id": "0x7", "file_name": "b.jpg"}])
    content["categories"] = [{"id": "s", "name": "ship"}, {"id": 5.0, "name": "dam"}]
    content["annotations"] = [{"image_id": "scene-7", "category_id": "s", "bbox": [1, 1, 5, 5], "iscrowd": "0"}]
    dataset = read_dataset(write_coco(tmp_path, content), "train")
    assert (dataset.classes, dataset.category_ids) == (("dam", "ship"), (5, 6))
    assert [e.annotations.image_id for e in dataset.examples if e.annotations] == ["scene-7", "0x7"]
    assert dataset.examples[0].labels.tolist() == [1]
    content["images"][0]["id"], content["annotations"][0]["image_id"] = "000012", 12
    padded = read_dataset(write_coco(tmp_path, content), "train").examples[0]
    assert (padded.annotations and padded.annotations.image_id, len(padded.labels)) == ("000012", 1)


def test_annotations_without_a_box_are_skipped_and_noted(tmp_path: Path) -> None:
    outline = {"segmentation": [[1, 1, 9, 1, 9, 9]]}
    items = [
        {"id": i, "image_id": 7, "category_id": 3} | more
        for i, more in enumerate(
            ({"bbox": []}, {"bbox": None}, {}, {"bbox": [], **outline}, {"bbox": [1, 1, 8, 8], **outline})
        )
    ]
    dataset = read_dataset(write_coco(tmp_path, coco_content(annotations=items)), "train")
    assert [len(e.annotations.labels) for e in dataset.examples if e.annotations] == [0, 1]
    assert [note.split(" (")[0] for note in dataset.notes] == [
        "train: 3 annotations without a box skipped",
        "train: 1 annotations with a segmentation but no box skipped",
    ]
    assert "annotation 0 of image 7" in dataset.notes[0]


def test_a_grouping_category_is_not_a_class(tmp_path: Path) -> None:
    group = {"id": 0, "name": "ports", "supercategory": "none"}
    named = [{"id": i, "name": name, "supercategory": "ports"} for i, name in ((3, "ship"), (90, "Dam"))]
    root = write_coco(tmp_path, coco_content(categories=[group, *named]))
    dataset = read_dataset(root, "train")
    assert dataset.classes == default_classes(root) == ("ship", "Dam")
    assert "only groups the others" in dataset.notes[0]
    used = [{"id": 1, "image_id": 7, "category_id": 0, "bbox": [1, 1, 5, 5]}]
    root = write_coco(tmp_path, coco_content(categories=[group, *named], annotations=used))
    assert default_classes(root) == ("ports", "ship", "Dam")


def test_annotations_beside_the_images(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        for name in ("a.jpg", "b.jpg"):
            write_image(tmp_path / split / name)
        write_json(tmp_path / split / "_annotations.coco.json", coco_content())
    assert (recognised_format(tmp_path), split_names(tmp_path)) == ("coco", ("test", "train", "valid"))
    assert read_dataset(tmp_path, "val").examples[0].image == tmp_path / "valid/b.jpg"


@pytest.mark.parametrize(
    "name",
    [
        "images/a.jpg",
        "train/a.jpg",
        "images\\a.jpg",
        ".\\images\\a.jpg",
        "/data/upload/1/a.jpg",
        "./a.jpg",
        "..\\..\\label\\media\\upload\\4\\a.jpg",
        "C:\\Users\\me\\a.jpg",
        "https://host/files/a.jpg",
        "A.JPG",
        "/data/local-files/?d=upload%2F4%2Fa.jpg",
    ],
)
@pytest.mark.parametrize("images", ["train", "images", "images/train", "images/train2017", "elsewhere/deep"])
def test_file_names_of_other_machines(tmp_path: Path, name: str, images: str) -> None:
    content = coco_content(images=[{"id": 7, "file_name": name}])
    root = write_coco(tmp_path, content, images=images)
    assert read_dataset(root, "train").examples[0].image == root / images / "a.jpg"


def test_an_ambiguous_name(tmp_path: Path) -> None:
    """The file in the split's own directory is used; elsewhere the name is ambiguous."""
    content = coco_content(images=[{"id": 7, "file_name": "/upload/a.jpg"}])
    root = write_coco(tmp_path, content)
    write_image(root / "val/a.jpg")
    assert read_dataset(root, "train").examples[0].image == root / "train/a.jpg"
    (root / "train").rename(root / "some")
    with pytest.raises(UserError, match=r"instances_train.json: image 7: '/upload/a.jpg' may be .*some/a.jpg or .*val"):
        read_dataset(root, "train")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    content = coco_content(images=[{"id": 7, "file_name": "/upload/a.jpg"}])
    root = write_coco(tmp_path / "data", content)
    (root / "train").rename(tmp_path / "elsewhere")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/round").symlink_to(root)
    assert read_dataset(root, "train").examples[0].image == root / "linked/a.jpg"


def test_two_names_for_one_file_are_refused(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "north/a.jpg"}, {"id": 8, "file_name": "south/a.jpg"}]
    with pytest.raises(UserError, match=r"'north/a.jpg' and 'south/a.jpg' would both be .*train/a.jpg"):
        read_dataset(write_coco(tmp_path, coco_content(images=images)), "train")


def test_names_in_another_normalisation_and_names_that_are_not_utf8(tmp_path: Path) -> None:
    composed, decomposed = unicodedata.normalize("NFC", "Zürich.jpg"), unicodedata.normalize("NFD", "Zürich.jpg")
    images = [{"id": 7, "file_name": composed}, {"id": 8, "file_name": "café.jpg"}]
    root = write_coco(tmp_path, coco_content(images=images))
    write_image(root / "train" / decomposed)
    (root / "train/b.jpg").rename(root / "train" / os.fsdecode("café.jpg".encode("cp1252")))
    zurich, cafe = read_dataset(root, "train").examples
    assert zurich.image.name == decomposed
    assert os.fsencode(cafe.image.name) == b"caf\xe9.jpg"


def test_an_image_in_a_subfolder_and_one_without_a_stated_size(tmp_path: Path) -> None:
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
    (root / "train/sub").mkdir()
    with pytest.raises(UserError, match=r"instances_train.json: .*no image"):
        read_dataset(root, "train")
    if name.endswith(".jpg") or name == "/ABSOLUTE":
        write_image(root / "deep/secret.jpg")  # only the last part of the name is used, and only inside
        read = read_dataset(root, "train", classes=("ship", "Dam")).examples[0].image
        assert read == root / "deep/secret.jpg"


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
        (coco_content(categories=[{"id": [3], "name": "ship"}]), "is not an id"),
        (coco_content(categories=[{"id": 3, "name": None}]), "category 3 is called None"),
        (coco_content(categories=[{"id": 3, "name": " "}]), "category 3 is called ' '"),
        (coco_content(categories=[{"id": 3, "name": "\ud800"}]), "category 3 is called"),
        (coco_content(categories=[{"id": 3, "name": "ship"}, {"id": "3", "name": "dam"}]), "same id"),
        (
            coco_content(categories=[{"id": 3, "name": "ship"}, {"id": 3, "name": "dam"}]),
            "two categories have the same",
        ),
        (coco_content(categories=[{"id": 3, "name": "ship"}]), "category 90, which is not in the file"),
        (annotation(image_id=8), "image 8, which is not in the file"),
        (annotation(category_id=4), "category 4, which is not in the file"),
        (annotation(category_id="absent"), "'category_id'"),
        (annotation(image_id=8), "annotation 1 belongs to image 8"),
        (annotation(id="absent", category_id=4), r"annotation at index 0 \(counted from 0\) has category 4"),
        (annotation(area="large"), "annotation 1: ValueError"),
        (annotation(area=float("nan")), "the area of annotation 1 of image 7 is not finite"),
        (annotation(iscrowd="yes"), "annotation 1: ValueError"),
        (annotation(bbox=[1, 2, 3]), "annotation 1 of image 7 is not in COCO's format"),
        (annotation(bbox=[[1, 2], [3, 4]]), "not in COCO's format"),
        (annotation(bbox=["a", 2, 3, 4]), "not in COCO's format"),
        (annotation(bbox=[1, 2, float("nan"), 4]), "the box of annotation 1 of image 7 is not finite"),
        (annotation(bbox=[1, 2, 3, float("inf")]), "the box of annotation 1 of image 7 is not finite"),
        (annotation(bbox=[1, 2, 3, 1e300]), "the box of annotation 1 of image 7 is not finite"),
        (annotation(bbox=[1, 2, 3, 10**400]), "not in COCO's format"),
    ],
)
def test_invalid_files_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_dataset(write_coco(tmp_path, content), "train")
    assert "instances_train.json" in str(caught.value) or "is empty" in str(caught.value)


def test_a_directory_in_place_of_the_file_and_utf16(tmp_path: Path) -> None:
    (tmp_path / "annotations/instances_train.json").mkdir(parents=True)
    write_coco(tmp_path, coco_content(), split="val", images="val")
    (tmp_path / "annotations/instances_val.json").write_bytes(json.dumps(coco_content()).encode("utf-16"))
    for split, message in (("train", "directory"), ("val", "broken JSON")):
        with pytest.raises(UserError, match=f"instances_{split}.json: .*{message}"):
            read_dataset(tmp_path, split, classes=("ship", "dam"))


def test_a_missing_split(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_content())
    with pytest.raises(UserError, match="has no split 'val'; it has train"):
        read_dataset(tmp_path, "val")
