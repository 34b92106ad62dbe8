"""Images are found by name in any spelling, and skipped files are noted."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.errors import UserError
from tests.data.sample_datasets import write_class_folders, write_flat, write_image, write_lines


def test_hidden_files_are_ignored(tmp_path: Path) -> None:
    root = write_flat(tmp_path, "a", ".b")
    for name in ("images/._a.jpg", "images/.DS_Store", "annotations/._a.xml"):
        (root / name).write_bytes(b"\x00")
    with pytest.raises(UserError, match=r"there is no image '\.b'"):
        read_dataset(root, "train")
    write_lines(root / "splits/train.txt", "a")
    assert read_dataset(root, "train").notes == ()


def test_of_two_images_with_one_name_the_first_is_used_and_noted(tmp_path: Path) -> None:
    root = write_flat(tmp_path, "a", "b")
    write_image(root / "images/a.png", size=(20, 20))
    write_image(root / "JPEGImages/a.png")
    dataset = read_dataset(root, "train")
    assert [example.image.name for example in dataset.examples] == ["a.jpg", "b.jpg"]
    assert dataset.notes == (
        "train: 2 images skipped in favour of others of the same name, such as a.jpg (first in a.png)",
    )


@pytest.mark.parametrize("extension", [".JPG", ".jfif", ".jp2", ".gif", ".PNG", ".webp", ".ppm"])
def test_supported_extensions(tmp_path: Path, extension: str) -> None:
    root = write_class_folders(tmp_path, "train", port=1)
    kind = {".jfif": "JPEG"}.get(extension)
    Image.new("RGB", (9, 5), (200, 30, 60)).save(root / f"train/port/a{extension}", kind)
    dataset = read_dataset(root, "train")
    assert ([(e.width, e.height) for e in dataset.examples], dataset.notes) == ([(9, 5), (40, 40)], ())


def test_unsupported_formats_are_counted(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "folders", "train", port=1)
    for name in ("a.heic", "b.HEIC", "scene", "notes.txt", "a.tfw"):
        (root / "train/port" / name).write_bytes(b"\x00")
    reason = "skipped: not a supported image format"
    assert read_dataset(root, "train").notes == (
        f"train: 2 .heic files {reason} (first in a.heic)",
        f"train: 1 files without extension {reason} (first in scene)",
    )
    root = write_flat(tmp_path / "flat", "a")
    (root / "images/a.jpg").rename(root / "images/a.heic")
    with pytest.raises(UserError, match=r"no image 'a' in .*\(a\.heic has an unsupported format; save it as PNG"):
        read_dataset(root, "train")


def test_folders_inside_a_class_belong_to_it(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path, "train", beach=1, port=1)
    write_image(root / "train/port/north/old/x.jpg")
    write_image(root / "train/port/y.jpg")
    write_image(root / "train/stray.jpg")
    (root / "train/port/north/round").symlink_to(root / "train/port")
    dataset = read_dataset(root, "train")
    names = [(example.image.name, int(example.labels[0])) for example in dataset.examples]
    assert names == [("beach_0.jpg", 0), ("port_0.jpg", 1), ("y.jpg", 1), ("x.jpg", 1)]
    assert dataset.notes == (
        "train: 1 images skipped, which are not in a class folder (first in stray.jpg)",
        "train: 1 images in folders inside a class folder, read as of that class (first in x.jpg)",
    )


@pytest.mark.parametrize(("listed", "stored"), [("caf\u00e9", "cafe\u0301"), ("cafe\u0301", "caf\u00e9")])
def test_composed_and_decomposed_names_are_equal(tmp_path: Path, listed: str, stored: str) -> None:
    root = write_flat(tmp_path, stored)
    write_lines(root / "splits/train.txt", listed)
    dataset = read_dataset(root, "train")
    assert (len(dataset.examples[0].labels), dataset.notes) == (1, ())
    write_lines(root / "splits/train.txt", listed, stored)
    with pytest.raises(UserError, match="occurs 2 times"):
        read_dataset(root, "train")


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    root = write_flat(tmp_path, "a", "b")
    name = os.fsdecode(b"caf\xe9")
    try:
        (root / "images/a.jpg").rename(root / f"images/{name}.jpg")
    except OSError:
        pytest.skip("the file system has no such names")
    (root / "splits/train.txt").write_bytes(b"caf\xe9\nb\n")
    dataset = read_dataset(root, "train")
    assert [len(example.labels) for example in dataset.examples] == [0, 1]
    assert dataset.notes == (
        "train: 1 images without an annotation file, read as background (first in caf\\udce9.jpg)",
    )
    np.testing.assert_array_equal(dataset.examples[0].boxes, np.zeros((0, 4)))
