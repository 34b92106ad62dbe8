"""Captions in JSON: RSICD's layout and COCO's."""

import json
from pathlib import Path
from typing import Any

import pytest

from remoteclip_jax.data.captions.reading import caption_splits, read_captions
from remoteclip_jax.errors import UserError
from tests.data.captions.sample_captions import coco_captions, pairs, rsicd_image, write_rsicd
from tests.data.sample_datasets import write_image, write_json


def test_rsicd(tmp_path: Path) -> None:
    images = [
        rsicd_image("airport_1.jpg", "many planes are parked . ", "an airport", "planes", "p", "q"),
        rsicd_image("farm_2.jpg", "a farm", split="val"),
        rsicd_image("beach_3.jpg", "a beach", split="test"),
        rsicd_image("port_4.jpg", "a port"),
    ]
    path = write_rsicd(tmp_path, *images)
    assert caption_splits(path) == ("train", "val", "test")
    train = read_captions(path, "train")
    expected = {
        "airport_1.jpg": ("many planes are parked .", "an airport", "planes", "p", "q"),
        "port_4.jpg": ("a port",),
    }
    assert pairs(train) == expected
    first = train.examples[0]
    assert (first.width, first.height) == (40, 40)
    assert first.boxes.shape == (0, 4)
    assert first.labels.shape == (0,)
    assert (train.classes, train.has_boxes, train.layout) == ((), False, "captions in RSICD's JSON")
    assert train.notes == ()
    assert pairs(read_captions(path, "validation")) == {"farm_2.jpg": ("a farm",)}


def test_karpathys_splits_of_coco(tmp_path: Path) -> None:
    image = rsicd_image("COCO_val2014_1.jpg", "a dog", split="restval", filepath="val2014")
    path = write_json(tmp_path / "dataset_coco.json", {"images": [image], "dataset": "coco"})
    write_image(tmp_path / "coco/val2014/COCO_val2014_1.jpg")
    write_image(tmp_path / "coco/COCO_val2014_1.jpg", size=(10, 10))
    (example,) = read_captions(path, "restval", tmp_path / "coco").examples
    assert example.image == tmp_path / "coco/val2014/COCO_val2014_1.jpg"


def test_images_without_a_split_have_that_of_the_file_or_train(tmp_path: Path) -> None:
    for name, split in (("captions.json", "train"), ("ucm_test.json", "test")):
        image = {"filename": "a.jpg", "sentences": [{"raw": "a ship"}]}
        write_image(tmp_path / "a.jpg")
        path = write_json(tmp_path / name, {"images": [image]})
        assert caption_splits(path) == (split,)
        assert pairs(read_captions(path, split)) == {"a.jpg": ("a ship",)}
    (note,) = read_captions(tmp_path / "captions.json", "train").notes
    assert "nothing in" in note
    assert "read as 'train'" in note
    assert read_captions(tmp_path / "ucm_test.json", "test").notes == ()


def test_coco(tmp_path: Path) -> None:
    for split, name in (("train2017", "a.jpg"), ("train2017", "b.jpg"), ("val2017", "a.jpg"), ("val2017", "b.jpg")):
        write_image(tmp_path / split / name, size=(30, 30) if split == "train2017" else (20, 20))
    for split in ("train2017", "val2017"):
        write_json(tmp_path / f"annotations/captions_{split}.json", coco_captions())
        write_json(tmp_path / f"annotations/instances_{split}.json", {"images": [], "annotations": []})
    folder = tmp_path / "annotations"
    assert caption_splits(folder) == ("train2017", "val2017")
    val = read_captions(folder, "val", tmp_path)
    assert pairs(val) == {"b.jpg": ("A dam.",), "a.jpg": ("A ship.", "One ship at sea.")}
    assert {example.width for example in val.examples} == {20}
    assert (val.layout, val.source_split) == ("captions in COCO's JSON", "val2017")
    (train,) = {
        example.width for example in read_captions(folder / "captions_train2017.json", "train", tmp_path).examples
    }
    assert train == 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "broken JSON"),
        ("[]", "not a caption file: expected RSICD's layout"),
        ({"images": {}}, "not a caption file"),
        ({"image": []}, "not a caption file"),
        ({"images": []}, "there is no image in it"),
        ({"images": [7]}, "the image at index 0 .* has no 'filename': expected"),
        ({"images": [{"filename": "a.jpg"}]}, "the image 'a.jpg' has no list of sentences"),
        ({"images": [rsicd_image(5, "a")]}, "'filename' of the image at index 0 .* is '5', not a text"),
        ({"images": [rsicd_image("a.jpg", 7)]}, "the 'raw' of a sentence of the image 'a.jpg' is '7', not a text"),
        ({"images": [rsicd_image("a.jpg", None)]}, "a sentence of the image 'a.jpg' has no 'raw'"),
        ({"images": [rsicd_image("a.jpg", "a", split=3)]}, "the 'split' of the image 'a.jpg' is '3', not a text"),
        ({"images": [rsicd_image("a.jpg", "a", filepath=[])]}, "the 'filepath' of the image 'a.jpg'"),
        (coco_captions(annotations={}), "annotations are not a list"),
        (coco_captions(annotations=[{"image_id": 7}]), "annotation at index 0 .* has no 'caption'"),
        (coco_captions(annotations=[{"image_id": 7, "caption": ["a"]}]), "the 'caption' of the annotation at index 0"),
        (coco_captions(annotations=[{"image_id": 1, "caption": "a"}]), "belongs to image 1, which is not in the file"),
        (coco_captions(annotations=[{"caption": "a"}]), "has no valid 'image_id'"),
        (coco_captions(images=[{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]), "have the same id"),
        (coco_captions(images=[{"id": [], "file_name": "a"}]), "has no valid 'id'"),
        (coco_captions(images=[{"id": 1}]), "has no 'file_name'"),
    ],
)
def test_what_is_no_caption_file(tmp_path: Path, content: Any, message: str) -> None:
    write_image(tmp_path / "a.jpg")
    path = tmp_path / "captions.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError, match=message) as error:
        read_captions(path, "train")
    assert str(path) in str(error.value)


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_bytes('{"images": "café"}'.encode("latin-1"))
    with pytest.raises(UserError, match=r"captions\.json: not a text file in UTF-8"):
        read_captions(path, "train")
