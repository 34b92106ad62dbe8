"""Converting a data set: splits, names of images, what cannot be expressed, windows, and mistakes."""

import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from pycocotools.coco import COCO

from convert.dataset_conversion import TARGETS, Cutting, convert_dataset
from convert.dataset_writers.windows import MIN_AREA_INSIDE, cut_annotations, window_starts, windows_of
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.reading import read_dataset, split_names
from remoteclip_jax.data.types import Annotations
from remoteclip_jax.errors import UserError
from tests.command import fails, run
from tests.data.sample_datasets import (
    coco_content,
    truncate,
    write_class_folders,
    write_coco,
    write_flat,
    write_image,
    write_lines,
    write_noise,
    write_official,
    write_voc,
)
from tests.data.sample_images import write_gradient


def annotations(*boxes: list[float], width: int = 3000, height: int = 2000) -> Annotations:
    array, none = np.array(boxes, np.float64).reshape(-1, 4), np.zeros(len(boxes), bool)
    return Annotations(1, width, height, array, array[:, 2] * array[:, 3], np.zeros(len(array), np.int32), none, none)


def test_trainval_is_left_out_where_it_is_train_and_val(tmp_path: Path) -> None:
    root = write_official(tmp_path / "dior")
    images = {"coco": "images/11726.jpg", "yolo": "images/test/11726.jpg", "dota": "test/images/11726.jpg"}
    for to, image in images.items():
        lines = convert_dataset(root, to, tmp_path / to)
        assert "trainval: not written, for its images are those of train and val" in lines
        assert sorted(split_names(tmp_path / to)) == ["test", "train", "val"]
        assert len(read_dataset(tmp_path / to, "trainval")) == 3
        assert os.path.samefile(tmp_path / to / image, root / "JPEGImages-test/11726.jpg")  # takes no space
    (root / "ImageSets/Main/val.txt").unlink()
    convert_dataset(root, "voc", tmp_path / "voc")
    assert [len(read_dataset(tmp_path / "voc", split)) for split in ("train", "trainval", "test")] == [2, 3, 2]
    assert len(list((tmp_path / "voc/images").iterdir())) == 5


def test_images_of_one_name_from_several_folders(tmp_path: Path) -> None:
    """Readers find labels by the stem, and file systems may ignore case."""
    root, items = tmp_path / "data", []
    for i, name in enumerate(("x/a.jpg", "y/a.jpg", "a.png", "A.jpg", "b.jpg.png", "n\nx.png", ".e.png", "f .png")):
        write_image(root / "images" / name, colour=(20 * i, 0, 0))
        items.append({"id": i, "file_name": name})
    boxes = [{"id": i, "image_id": i, "category_id": 3, "bbox": [i, 0, 9, 9]} for i in range(len(items))]
    write_coco(root, coco_content(images=items, annotations=boxes))
    for to in TARGETS:
        lines = convert_dataset(root, to, tmp_path / to)
        assert "train: 7 images renamed" in " ".join(lines)
        dataset = read_dataset(tmp_path / to, "train")
        assert len(dataset) == len(items)
        for example in dataset.examples:  # each image still has its own box
            assert example.annotations is not None
            red = np.asarray(read_image(example.image))[0, 0, 0]
            assert abs(20 * example.annotations.boxes[0, 0] - red) < 5


def test_data_without_splits_and_splits_without_a_purpose(tmp_path: Path) -> None:
    write_image(tmp_path / "data/images/a.jpg")
    write_voc(tmp_path / "data/annotations/a.xml")
    for to in TARGETS:
        lines = convert_dataset(tmp_path / "data", to, tmp_path / to)
        assert len(read_dataset(tmp_path / to, "train")) == 1
        assert split_names(tmp_path / to) == (("train",) if to == "yolo" else ("all",))
        assert any("written as 'train'" in line for line in lines) == (to == "yolo")
    write_lines(tmp_path / "data/splits/night.txt", "a")
    write_lines(tmp_path / "data/splits/day.txt", "a")
    with pytest.raises(UserError, match="yolo cannot have a split 'day'; rename it, or write --to=coco"):
        convert_dataset(tmp_path / "data", "yolo", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_format_cannot_express_is_counted(tmp_path: Path) -> None:
    flags = [{}, {"iscrowd": 1}, {"difficult": 1}, {"bbox": [5, 5, 0, 9]}]
    items = [{"id": i, "image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9], **flag} for i, flag in enumerate(flags)]
    root = write_coco(tmp_path / "data", coco_content(annotations=items, categories=[{"id": 3, "name": "tug boat"}]))
    lines = {to: "\n".join(convert_dataset(root, to, tmp_path / to)) for to in TARGETS}
    for to, text in lines.items():
        assert "train: 1 boxes without width or height not written (first in a.jpg)" in text
        assert ("crowds written as difficult objects" in text) == (to in ("voc", "dota"))
        assert ("train: 2 ignored objects and crowds not written, for YOLO cannot mark them" in text) == (to == "yolo")
        assert f"train 2 images with {1 if to == 'yolo' else 3} objects" in text.splitlines()[-1]
        assert "and not segmentations" in text
        assert ("class names changed to what the format can hold (first in 'tug boat', now 'tug-boat')" in text) == (
            to == "dota"
        )
    content = json.loads((tmp_path / "coco/annotations/instances_train.json").read_text())
    assert [(a["iscrowd"], a.get("difficult"), a.get("ignore")) for a in content["annotations"]] == [
        (0, None, None),
        (1, None, None),
        (0, 1, 1),
    ]
    assert COCO(str(tmp_path / "coco/annotations/instances_train.json")).getAnnIds(imgIds=[7]) == [1, 2, 3]
    line = (tmp_path / "dota/train/labelTxt/a.txt").read_text().splitlines()[1]
    assert line.split(" ") == ["0", "0", "9", "0", "9", "9", "0", "9", "tug-boat", "1"]  # as DOTA's tools split it


def test_yolo_gets_fractions_of_the_image(tmp_path: Path) -> None:
    """Boxes that reach far beyond it are clipped, and those outside are left out, for numbers above 1 would make
    Ultralytics drop the image with all its labels. Others stay as they are."""
    boxes = [[-4, 2, 12, 5], [-30, 2, 40, 5], [200, 200, 9, 9], [1, 1, 5, 500]]
    items = [{"id": i, "image_id": 7, "category_id": 3, "bbox": box} for i, box in enumerate(boxes)]
    root = write_coco(tmp_path / "data", coco_content(annotations=items, categories=[{"id": 3, "name": "ship"}]))
    text = "\n".join(convert_dataset(root, "yolo", tmp_path / "yolo"))
    assert "train: 2 boxes clipped to their image, for YOLO has fractions of it (first in a.jpg)" in text
    assert "train: 1 boxes outside of their image not written (first in a.jpg)" in text
    lines = (tmp_path / "yolo/labels/train/a.txt").read_text().splitlines()
    numbers = np.array([line.split()[1:] for line in lines], float)
    assert numbers.shape == (3, 4)
    assert ((numbers >= 0) & (numbers <= 1)).all()
    width = read_image(root / "train" / "a.jpg").width
    np.testing.assert_allclose(numbers[0, [0, 2]] * width, [2, 12])


def test_boxes_in_pixels_of_another_size_are_scaled(tmp_path: Path) -> None:
    write_image(tmp_path / "data/images/a.jpg")
    write_voc(tmp_path / "data/annotations/a.xml", [("ship", 4, 8, 80, 28)], size=(80, 80))
    convert_dataset(tmp_path / "data", "coco", tmp_path / "coco")
    a = read_dataset(tmp_path / "coco", "train").examples[0].annotations
    assert a is not None
    assert (a.width, a.boxes.tolist()) == (40, [[2, 4, 38, 10]])


@given(st.integers(1, 5000), st.integers(32, 1500), st.floats(0, 0.9))
@settings(database=None, derandomize=True)
def test_windows_cover_the_image_and_overlap(length: int, window: int, overlap: float) -> None:
    starts = window_starts(length, window, overlap)
    assert (starts[0], starts[-1]) == (0, max(0, length - window))
    shared = [a + window - b for a, b in itertools.pairwise(starts)]
    assert min(shared, default=window) >= min(window - 1, overlap * window - 1e-6)


@given(st.data())
@settings(database=None, derandomize=True)
def test_objects_that_are_smaller_than_the_overlap_are_whole_somewhere(data: st.DataObject) -> None:
    """And each of up to 0.94 of the window is an object somewhere, and ignored where little of it is seen."""
    window = data.draw(st.integers(100, 1024))
    width, height = data.draw(st.integers(window + 1, 3000)), data.draw(st.integers(40, 2000))
    w, h = (data.draw(st.floats(2, 0.94 * min(window, length))) for length in (width, height))
    box = [data.draw(st.floats(0, width - w)), data.draw(st.floats(0, height - h)), w, h]
    a, windows = annotations(box, width=width, height=height), windows_of(width, height, window, 0.25)
    parts = cut_annotations(a, windows, Path("a.png"), Notes("train"))
    kept = [part for part in parts if len(part.labels) and not part.difficult.any()]
    assert kept
    if max(w, h) < 0.25 * window:
        assert any((part.boxes[0, 2:] == (w, h)).all() for part in kept)
    for (left, top, right, bottom), part in zip(windows, parts, strict=True):
        assert (part.width, part.height) == (right - left, bottom - top)
        for (x, y, *sides), difficult in zip(part.boxes.tolist(), part.difficult.tolist(), strict=True):
            assert min(x, y) >= 0
            assert x + sides[0] <= part.width + 1e-9
            assert y + sides[1] <= part.height + 1e-9
            assert difficult == (np.prod(sides) < MIN_AREA_INSIDE * w * h)


def test_each_object_is_accounted_for() -> None:
    whole, crossing_the_border = [[10.0, 10, 20, 20], [90, 0, 30, 10]], [-5, -5, 10, 10]
    boxes = [*whole, crossing_the_border, [150, 50, 149, 100], [400, 10, 9, 9], [0, 0, 300, 150]]
    a, notes = annotations(*boxes, width=300, height=150), Notes("train")
    parts = cut_annotations(a, windows_of(300, 150, 100, 0.25), Path("a.png"), notes)
    assert sum(map(len, (part.labels for part in parts))) > len(boxes)
    counts = {line.split(" (")[0].split(" ", 2)[2]: int(line.split()[1]) for line in notes.lines()}
    assert counts.pop("parts with less than 40% of an object's area, ignored") > 0
    assert counts == {
        "objects whole in at least one window": 3,
        "objects whole in no window, and with at least 40% in one": 1,
        "objects with less than 40% in each window, ignored": 1,
        "objects outside of the images that were cut, left out": 1,
    }


@pytest.mark.parametrize("to", TARGETS)
def test_windows_are_parts_of_the_image(tmp_path: Path, to: str) -> None:
    root = tmp_path / "data"
    write_noise(root / "images/large.png", 150)
    write_noise(root / "images/photo.jpg", 120)
    write_noise(root / "images/small.png", 100)
    ship = ("ship", 60.5, 20.0, 70.0, 30.0)
    for stem, side in (("large", 150), ("photo", 120), ("small", 100)):
        write_voc(root / f"annotations/{stem}.xml", [ship], size=(side, side))
    write_lines(root / "splits/train.txt", "large", "photo", "small")
    lines = convert_dataset(root, to, tmp_path / to, cutting=Cutting(100, 0.5))
    assert "train: 2 images cut into windows (first in large.png)" in lines
    dataset = read_dataset(tmp_path / to, "train")
    assert "train: 8 windows written (first in large.png)" in lines
    names = sorted(example.image.name for example in dataset.examples)
    assert names == [
        *(f"large__{x}_{y}.png" for x in (0, 50) for y in (0, 50)),
        *(f"photo__{x}_{y}.jpg" for x in (0, 20) for y in (0, 20)),
        "small.png",
    ]
    found = {example.image.name: example for example in dataset.examples}
    image = np.asarray(read_image(root / "images/large.png"))
    np.testing.assert_array_equal(np.asarray(read_image(found["large__50_0.png"].image)), image[:100, 50:])
    part = found["large__50_0.png"].annotations
    assert part is not None
    np.testing.assert_allclose(part.boxes, [[10.5, 20, 9.5, 10]], atol=1e-9)
    assert len({str(e.annotations and e.annotations.image_id) for e in dataset.examples}) == 9
    again = convert_dataset(root, to, tmp_path / "again", cutting=Cutting(100, 0.5))
    assert [line for line in again if "written: " not in line] == [line for line in lines if "written: " not in line]
    for path in (tmp_path / to).rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(tmp_path / to)).read_bytes()


def test_images_turned_by_their_exif_orientation(tmp_path: Path) -> None:
    """Boxes are those of the upright image, and windows are upright."""
    write_gradient(tmp_path / "data/images/train/a.png", size=(120, 80), exif=oriented(6))
    write_lines(tmp_path / "data/labels/train/a.txt", "0 0.25 0.5 0.5 0.1")
    (tmp_path / "data/data.yaml").write_text("train: images/train\nnames: [ship]\n")
    convert_dataset(tmp_path / "data", "coco", tmp_path / "coco")
    a = read_dataset(tmp_path / "coco", "train").examples[0].annotations
    assert a is not None
    assert (a.width, a.height) == (80, 120)
    np.testing.assert_allclose(a.boxes, [[0, 54, 40, 12]])
    convert_dataset(tmp_path / "data", "voc", tmp_path / "voc", cutting=Cutting(100))
    upright = np.asarray(read_image(tmp_path / "data/images/train/a.png"))
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "voc/images/a__0_20.png")), upright[20:])


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def test_deep_images_are_cut_as_eight_bits(tmp_path: Path) -> None:
    root = write_flat(tmp_path / "data", "a")
    (root / "images/a.jpg").unlink()
    values = np.random.default_rng(0).integers(0, 65536, (80, 120), np.uint16)
    Image.fromarray(values).save(root / "images/a.tif")
    write_voc(root / "annotations/a.xml", size=(120, 80))
    lines = convert_dataset(root, "coco", tmp_path / "coco", cutting=Cutting(100))
    assert "train: 1 images of more than eight bits or three bands cut as eight bits of RGB (first in a.tif)" in lines
    cut = np.asarray(read_image(tmp_path / "coco/images/a__20_0.png"))
    np.testing.assert_array_equal(cut, np.asarray(read_image(root / "images/a.tif"))[:, 20:])


def test_mistakes(tmp_path: Path) -> None:
    root = write_flat(tmp_path / "data", "a")
    (tmp_path / "file").touch()
    for output, message in (
        (tmp_path / "file", "is a file"),
        (root, "is not empty; choose another --output"),
        (root / "images/new", "lies in the data set"),
    ):
        with pytest.raises(UserError, match=message):
            convert_dataset(root, "coco", output)
    with pytest.raises(UserError, match="class folders have no boxes"):
        convert_dataset(write_class_folders(tmp_path / "folders", "train", port=1), "coco", tmp_path / "out")
    for arguments in ((8, 0.2), (100, 1.0), (100, float("nan"))):
        with pytest.raises(UserError, match=r"--window=8 is too small|--overlap=.* is out of range"):
            Cutting(*arguments)


def test_a_failed_conversion_leaves_nothing(tmp_path: Path) -> None:
    root = write_flat(tmp_path / "data", "a", "b")
    truncate(write_noise(root / "images/b.jpg", 150))
    write_voc(root / "annotations/b.xml", size=(150, 150))
    (tmp_path / "empty").mkdir()
    for output in (tmp_path / "out", tmp_path / "empty"):
        with pytest.raises(UserError, match=r"b\.jpg: .*--skip_broken leaves such images out"):
            convert_dataset(root, "yolo", output, cutting=Cutting(100))
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "empty").iterdir())
    lines = convert_dataset(root, "yolo", tmp_path / "out", cutting=Cutting(100), skip_broken=True)
    assert "train: 1 images cannot be read and are left out (b.jpg)" in lines


def test_copies_where_links_are_not_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", refuse)
    root = write_flat(tmp_path / "data", "a")
    convert_dataset(root, "coco", tmp_path / "coco")
    copy = tmp_path / "coco/images/a.jpg"
    assert copy.read_bytes() == (root / "images/a.jpg").read_bytes()
    assert not os.path.samefile(copy, root / "images/a.jpg")


def test_the_command(tmp_path: Path) -> None:
    root = write_flat(tmp_path / "data", "a")
    command = ("-m", "convert.dataset", f"--data_dir={root}", f"--output={tmp_path / 'out'}", "--to=coco")
    result = run(*command)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        f"data: DIOR in {root}: train 1 images",
        f"written: COCO in {tmp_path / 'out'}: train 1 images with 1 objects",
    ]
    assert "is not empty" in fails(*command)
    shutil.rmtree(tmp_path / "out")
    assert "--overlap belongs to --window" in fails(*command, "--overlap=0.5")
