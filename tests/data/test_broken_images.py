"""Images that cannot be read: refused with the remedy, or left out, counted and named."""

from pathlib import Path

import pytest

from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.errors import UserError
from tests.data.sample_datasets import (
    coco_content,
    truncate,
    write_class_folders,
    write_coco,
    write_flat,
    write_image,
    write_json,
    write_lines,
    write_noise,
)

GOOD = "good.jpg"


def dior(root: Path) -> Path:
    write_flat(root, "good", "none", "cut", "gone")
    (root / "images/gone.jpg").unlink()
    return root / "images"


def coco(root: Path) -> Path:
    images = [{"id": name, "file_name": f"{name}.jpg"} for name in ("good", "none", "cut", "gone")]
    write_coco(root, coco_content(images=images, annotations=[]))
    return root / "train"


def yolo(root: Path) -> Path:
    write_lines(root / "data.yaml", "train: images", "names: [ship]")
    write_lines(root / "labels/good.txt", "0 0.5 0.5 0.5 0.5")
    return root / "images"


def folder(root: Path) -> Path:
    return write_class_folders(root, "train", port=0) / "train/port"


def broken(root: Path, make) -> Path:
    directory = make(root)
    write_noise(directory / GOOD, 40)
    (directory / "none.jpg").write_bytes(b"no image")
    truncate(write_noise(directory / "cut.jpg", 40, seed=1))  # a whole header
    return root


@pytest.mark.parametrize("make", [dior, coco, yolo, folder])
def test_broken_images_are_refused_or_left_out(tmp_path: Path, make) -> None:
    root = broken(tmp_path, make)
    with pytest.raises(UserError, match=r"none.jpg: .* \(--skip_broken leaves such images out\)"):
        read_dataset(root, "train")
    dataset = read_dataset(root, "train", skip_broken=True)
    assert [example.image.name for example in dataset.examples] == [GOOD]
    listed = make in (dior, coco)
    note = next(note for note in dataset.notes if "cannot be read" in note)
    assert note.startswith(f"train: {2 + listed} images cannot be read and are left out (")
    assert {"none", "cut"} | ({"gone"} if listed else set()) == {
        name.removesuffix(".jpg") for name in note.split("(")[1].rstrip(")").split(", ")
    }


def test_only_the_first_few_are_named(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path, "train", port=1)
    for i in range(5):
        (root / f"train/port/x{i}.jpg").write_bytes(b"")
    note = read_dataset(root, "train", skip_broken=True).notes[0]
    assert note == "train: 5 images cannot be read and are left out (x0.jpg, x1.jpg, x2.jpg and 2 more)"


def test_no_image_is_left(tmp_path: Path) -> None:
    (write_class_folders(tmp_path, "train", port=0) / "train/port/a.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="the split 'train' is empty"):
        read_dataset(tmp_path, "train", skip_broken=True)


def test_intact_images_are_all_kept(tmp_path: Path) -> None:
    images = [{"id": name, "file_name": f"{name}.jpg"} for name in "ab"]
    write_json(tmp_path / "annotations/instances_train.json", coco_content(images=images, annotations=[]))
    for name in "ab":
        write_image(tmp_path / f"images/{name}.jpg")
    dataset = read_dataset(tmp_path, "train", skip_broken=True)
    assert (len(dataset), dataset.notes) == (2, ())
