"""YOLO labels, in the layouts and with the quirks of users' data."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from remoteclip_jax.data.reading import dataset_summary, default_classes, read_dataset, recognised_format, split_names
from remoteclip_jax.errors import UserError
from tests.data.sample_datasets import SIZE, write_image, write_lines

YAML = "train: images/train\nval: images/val\nnames: [ship, Dam]\n"
BOX = [0.3, 0.45, 0.4, 0.5]
LINE = "0 0.3 0.45 0.4 0.5"


def yolo(root: Path, *lines: str, yaml: str | None = YAML, images: str = "images/train", name: str = "a") -> Path:
    """An image, its label file where ultralytics looks for it, and the YAML file of the data set."""
    write_image(root / images / f"{name}.jpg")
    write_lines(root / images.replace("images", "labels") / f"{name}.txt", *lines)
    for directory in ("images/train", "images/val"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    if yaml is not None:
        (root / "data.yaml").write_text(yaml)
    return root


def test_boxes_labels_and_annotations(tmp_path: Path) -> None:
    root = yolo(yolo(tmp_path, LINE, "", "1 0.5 0.5 1.2 0.2"), name="b")
    write_image(root / "images/train/c.jpg")
    assert (recognised_format(root), split_names(root), default_classes(root)) == (
        "yolo",
        ("train", "val"),
        ("ship", "Dam"),
    )
    dataset = read_dataset(root, "train")
    a, b, c = dataset.examples
    np.testing.assert_allclose(a.boxes, [BOX, [0.5, 0.5, 1, 0.2]], atol=1e-6)
    assert (a.labels.tolist(), a.boxes.dtype, a.labels.dtype) == ([0, 1], np.float32, np.int32)
    assert (len(b.labels), len(c.labels)) == (0, 0)
    assert dataset.notes == (
        "train: 1 images without a label file, read as background (first in c.jpg)",
    )  # an empty label file needs no note
    assert a.annotations is not None
    np.testing.assert_allclose(a.annotations.boxes, [[4, 8, 16, 20], [-4, 16, 48, 8]])
    assert a.annotations.boxes.dtype == np.float64
    assert (a.annotations.image_id, a.annotations.width, dataset.category_ids) == ("a", SIZE, (0, 1))
    assert dataset_summary(root, [dataset]).startswith("data: YOLO in ")


def test_the_yaml_file_is_not_a_data_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.yaml: a file; name the directory"):
        read_dataset(yolo(tmp_path, LINE) / "data.yaml", "train")


@pytest.mark.parametrize(
    ("names", "classes", "ids"),
    [
        ("[ship, Dam]", ("ship", "Dam"), (0, 1)),
        ("{0: ship, 1: Dam}", ("ship", "Dam"), (0, 1)),
        ("\n  3: Dam\n  0: ship\n", ("ship", "Dam"), (0, 3)),
        ("[no, 1e3]", ("no", "1e3"), (0, 1)),
        ("[ship, ship, Dam]", ("ship", "Dam"), (0, 2)),
    ],
)
def test_names(tmp_path: Path, names: str, classes: tuple[str, ...], ids: tuple[int, ...]) -> None:
    root = yolo(tmp_path, LINE, yaml=f"train: images/train\nval: images/val\nnames: {names}\n")
    dataset = read_dataset(root, "train")
    assert (dataset.classes, dataset.category_ids, dataset.examples[0].labels.tolist()) == (classes, ids, [0])


def test_classes_without_names(tmp_path: Path) -> None:
    for yaml, count in (("train: images/train\nval: images/val\nnc: 4\n", 4), (None, 3)):
        root = yolo(tmp_path / str(count), LINE, "2 0.5 0.5 0.5 0.5", yaml=yaml)
        assert default_classes(root) == tuple(f"class_{i}" for i in range(count))
        dataset = read_dataset(root, "train", classes=("dam", "port", "ship", "car"))
        assert dataset.examples[0].labels.tolist() == [0, 2]
        assert "classes without names, known only by number" in dataset.notes[0]


def test_names_are_matched_to_the_given_classes(tmp_path: Path) -> None:
    root = yolo(tmp_path, "1 0.5 0.5 0.5 0.5")
    dataset = read_dataset(root, "train", classes=("dam", "bridge", "SHIP"))
    assert (dataset.examples[0].labels.tolist(), dataset.category_ids) == ([0], (1, 2, 0))
    with pytest.raises(UserError, match=r"data.yaml: unknown class 'Dam'"):
        read_dataset(root, "train", classes=("ship",))


@pytest.mark.parametrize(
    ("yaml", "images"),
    [
        ("path: .\ntrain: images/train\nval: images/val", "images/train"),
        ("path: ../datasets/ports\ntrain: images/train\nval: images/val", "images/train"),
        ("path: /home/me/ports\ntrain: images/train\nval: images/val", "images/train"),
        ("path: ports\ntrain: images/train\nval: images/val", "ports/images/train"),
        ("train: ../train/images\nval: ../valid/images\ntest: ../test/images", "train/images"),
        ("train: /content/ports/train/images\nval: ../valid/images", "train/images"),
        ("train: train\nval: valid", "train/images"),
        ("train: ../ports/images/train\nval: ../ports/images/val", "images/train"),
        ("train: [images/train, images/more]\nval: images/val", "images/more"),
        ("train: train.txt\nval: images/val", "images/train"),
        ("train: images\nval:", "images/deep/images/b"),
        ("train: .\nval: ~", "images"),
    ],
)
def test_locations_of_images_and_labels(tmp_path: Path, yaml: str, images: str) -> None:
    for directory in ("images/train", "images/val", "images/more", "valid/images", "ports/images/val"):
        (tmp_path / directory).mkdir(parents=True)
    write_image(tmp_path / images / "a.jpg")
    head, _, tail = images.rpartition("images")
    write_lines(tmp_path / f"{head}labels{tail}/a.txt", LINE)
    write_lines(tmp_path / "train.txt", "./images/train/a.jpg", "")
    (tmp_path / "data.yaml").write_text(f"{yaml}\nnames: [ship]\n")
    dataset = read_dataset(tmp_path, "train")
    assert [example.labels.tolist() for example in dataset.examples] == [[0]]
    absent = [note for note in dataset.notes if "split named in the file but missing: test" in note]
    assert len(absent) == ("test:" in yaml)


def test_two_images_with_one_name_and_unsupported_formats(tmp_path: Path) -> None:
    root = yolo(tmp_path, LINE)
    write_image(root / "images/train/a.png")
    (root / "images/train/b.ecw").write_bytes(b"x")
    (root / "images/train/._c.jpg").write_bytes(b"x")
    dataset = read_dataset(root, "train")
    assert [example.image.name for example in dataset.examples] == ["a.jpg"]
    assert [note.split(",")[0].split(" (")[0] for note in dataset.notes] == [
        "train: 1 .ecw files skipped: not a supported image format",
        "train: 1 images skipped in favour of others of the same name",
    ]


@pytest.mark.parametrize("layout", ["images/train", "train/images"])
def test_without_a_yaml(tmp_path: Path, layout: str) -> None:
    root = yolo(tmp_path, LINE, yaml=None, images=layout)
    write_lines(root / "classes.txt", "ship", "Dam", "", "")
    assert recognised_format(root) == "yolo"
    assert read_dataset(root, "train").classes == ("ship", "Dam")


def test_labels_beside_images(tmp_path: Path) -> None:
    write_image(tmp_path / "obj_train_data/a.jpg")
    write_lines(tmp_path / "obj_train_data/a.txt", LINE)
    write_lines(tmp_path / "train.txt", "data/obj_train_data/a.jpg")
    write_lines(tmp_path / "obj.names", "ship")
    dataset = read_dataset(tmp_path, "train")
    assert (dataset.classes, dataset.examples[0].labels.tolist()) == (("ship",), [0])


def test_outlines_and_confidences(tmp_path: Path) -> None:
    root = yolo(tmp_path, "0 0.1 0.2 0.5 0.2 0.5 0.7 0.1 0.7", "1 .1 .2 .3 .2 .2 .6", f"{LINE} 0.9", "0.0 .5 .5 .2 .2")
    dataset = read_dataset(root, "train")
    np.testing.assert_allclose(dataset.examples[0].boxes[:3], [BOX, [0.2, 0.4, 0.2, 0.4], BOX], atol=1e-6)
    assert [note.split(" (")[0] for note in dataset.notes] == [
        "train: 2 outlines replaced by their bounding boxes",
        "train: 1 lines with a confidence after the box, which is not used",
    ]


def test_oriented_boxes_are_named_in_the_layout(tmp_path: Path) -> None:
    corners = "0 0.1 0.2 0.5 0.2 0.5 0.7 0.1 0.7"
    root = yolo(yolo(tmp_path / "oriented", corners, corners), name="empty")
    dataset = read_dataset(root, "train")
    assert dataset.layout == "YOLO (oriented boxes)"
    assert dataset.notes == ("train: 2 outlines replaced by their bounding boxes (first in a.txt)",)
    (root / "README.roboflow.txt").touch()
    assert read_dataset(root, "train").layout == "YOLO (oriented boxes, Roboflow's export)"
    for name, other in (("boxes", LINE), ("outlines", "1 .1 .2 .3 .2 .2 .6")):
        assert read_dataset(yolo(tmp_path / name, corners, other), "train").layout == "YOLO"


def test_label_files_without_an_image_are_counted(tmp_path: Path) -> None:
    root = yolo(tmp_path, LINE)
    for name in ("lost", "gone", "classes"):
        write_lines(root / f"labels/train/{name}.txt", LINE)
    write_lines(root / "labels/val/other.txt", LINE)
    assert read_dataset(root, "train").notes == ("train: 2 label files without an image, not used (first in gone.txt)",)
    write_lines(root / "train.txt", "images/train/a.jpg")  # a list may name only some of the images
    (root / "data.yaml").write_text(YAML.replace("train: images/train", "train: train.txt"))
    assert read_dataset(root, "train").notes == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.5 0.5", "class 2 has no name .known: 0 to 1.; name it in data.yaml, or correct the line"),
        ("-1 0.5 0.5 0.5 0.5", "class -1 has no name"),
        ("0.5 0.5 0.5 0.5 0.5", "class 0.5 has no name"),
        ("ship 0.5 0.5 0.5 0.5", "not a class number and a box"),
        ("0 0.5 0,5 0.5 0.5", "not a class number and a box"),
        ("0 0.5 0.5 nan 0.5", "not finite"),
        ("0 0.5 0.5 inf 0.5", "not finite"),
        ("0 0.5 0.5 1e300 0.5", "not finite"),
        ("inf 0.5 0.5 0.5 0.5", "not a class number"),
        ("0", "0 numbers after the class"),
        ("0 0.5 0.5 0.5", "3 numbers after the class"),
        ("0 .1 .2 .3 .4 .5 .6 .7", "7 numbers after the class"),
    ],
)
def test_invalid_lines_are_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"labels/train/a.txt, line 2: .*{message}"):
        read_dataset(yolo(tmp_path, LINE, line), "train")


def test_the_known_numbers_are_those_with_a_name(tmp_path: Path) -> None:
    root = yolo(tmp_path, "1 0.5 0.5 0.5 0.5")
    (root / "data.yaml").write_text("names: {0: ship, 5: harbor}\ntrain: images/train\nval: images/val\n")
    with pytest.raises(UserError, match=r"class 1 has no name \(known: 0, 5\)"):
        read_dataset(root, "train")


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("names: [", "broken YAML"),
        ("- ship", "expected names and values"),
        ("", "expected names and values"),
        ("names: ship\ntrain: images/train", "`names` must be a list"),
        ("names: []\ntrain: images/train", "`names` must be a list"),
        ("names: {a: ship}\ntrain: images/train", "'a': 'ship'"),
        ("names: [[ship]]\ntrain: images/train", "'0': 'list'"),
        ("names: [ship]\ntrain: {a: b}", "`train` must be"),
        ("names: [ship]\ntrain: images/nowhere", "`train: images/nowhere` is not in"),
        ("names: [ship]\ntrain: ../../..", "is not in"),
        ("names: [ship]\ntrain: ../valid/images", "is not in"),
        ("names: &a [*a]\ntrain: images/train", "broken YAML"),
        ("[" * 2000, "broken YAML"),
        ("names: !!python/object:os.system [ls]\ntrain: images/train", "class"),
    ],
)
def test_invalid_yaml_is_refused(tmp_path: Path, yaml: str, message: str) -> None:
    root = yolo(tmp_path, "9 0.5 0.5 0.5 0.5", yaml=yaml)
    with pytest.raises(UserError, match=message):
        read_dataset(root, "train", "yolo")


def test_nested_aliases_are_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    root = yolo(tmp_path, LINE, yaml="\n".join([*lines, "train: images/train", "names: *a59"]))
    with pytest.raises(UserError, match="'0': 'list'"):
        read_dataset(root, "train")


def test_names_in_another_unicode_normalisation(tmp_path: Path) -> None:
    """Images may have been unpacked on one system and labels on another."""
    root = yolo(tmp_path, LINE, name=unicodedata.normalize("NFC", "Zürich"))
    labels = root / "labels/train"
    next(labels.iterdir()).rename(labels / (unicodedata.normalize("NFD", "Zürich") + ".txt"))
    assert len(read_dataset(root, "train").examples[0].labels) == 1


def test_nothing_outside_the_data_directory_is_read(tmp_path: Path) -> None:
    yolo(tmp_path / "other", LINE)
    for value in ("../images/train", str(tmp_path / "other/images/train")):
        root = yolo(tmp_path / "data", LINE, yaml=f"train: {value}\nnames: [ship]")
        dataset = read_dataset(root, "train")  # the end of that path also exists inside
        assert all(example.image.is_relative_to(root) for example in dataset.examples)
    write_lines(root / "list.txt", str(tmp_path / "other/images/train/z.jpg"))
    write_image(tmp_path / "other/images/train/z.jpg")
    (root / "data.yaml").write_text("train: list.txt\nnames: [ship]")
    with pytest.raises(UserError, match=r"list.txt, line 1: there is no image .*z.jpg"):
        read_dataset(root, "train")
