"""Validation images are never trained on."""

import shutil
from pathlib import Path

import pytest

from remoteclip_jax.data.holdout import duplicate_notes, hold_out, without_shared_files
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.errors import UserError
from tests.data.sample_datasets import write_class_folders, write_noise


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twenty different images to train on, five to validate."""
    write_class_folders(write_class_folders(tmp_path, "train", port=0), "val", port=0)
    for split, count in (("train", 20), ("val", 5)):
        for i in range(count):
            write_noise(tmp_path / split / f"port/{split}_{i:02}.png", 16, seed=i + 100 * (split == "val"))
    return tmp_path


def names(dataset) -> list[str]:
    return [example.image.name for example in dataset.examples]


def test_held_out_images_are_disjoint_and_depend_on_the_seed_alone(root: Path) -> None:
    whole = read_dataset(root, "train")
    train, val = hold_out(whole, 0.2, seed=3)
    assert (len(train), len(val), val.split) == (16, 4, "val")
    assert sorted(names(train) + names(val)) == names(whole)
    assert names(train) == sorted(names(train))
    again = hold_out(read_dataset(root, "train"), 0.2, seed=3)
    assert [names(d) for d in again] == [names(train), names(val)]
    assert names(hold_out(whole, 0.2, seed=4)[1]) != names(val)
    assert "val: 4 of the 20 images of 'train' are taken for validation (--val_share=0.2)" in val.notes[0]


def test_at_least_one_image_is_held_out_and_never_all(root: Path) -> None:
    whole = read_dataset(root, "train")
    assert len(hold_out(whole, 0.001, seed=0)[1]) == 1
    with pytest.raises(UserError, match=r"--val_share=0\.999 leaves none of the 20 images"):
        hold_out(whole, 0.999, seed=0)


def test_copies_of_a_file_stay_on_one_side(root: Path) -> None:
    for i in range(20):
        shutil.copy(root / f"train/port/train_{i:02}.png", root / f"train/port/copy_{i:02}.png")
    for seed in range(3):
        train, val = (set(names(part)) for part in hold_out(read_dataset(root, "train"), 0.3, seed))
        for i in range(20):
            assert {f"train_{i:02}.png", f"copy_{i:02}.png"} <= (train if f"train_{i:02}.png" in train else val)


def test_copies_between_splits_are_counted(root: Path) -> None:
    train = read_dataset(root, "train")
    assert duplicate_notes(read_dataset(root, "val"), train) == ()
    shutil.copy(root / "train/port/train_03.png", root / "val/port/other.png")
    (root / "val/port/val_01.png").unlink()
    (root / "val/port/val_01.png").symlink_to(root / "train/port/train_04.png")
    (note,) = duplicate_notes(read_dataset(root, "val"), train)
    assert note.startswith("val: 2 of 6 images are trained on, too")
    assert "other.png is" in note
    val, count = without_shared_files(read_dataset(root, "val"), train)
    assert (count, len(val)) == (1, 5)  # the link is the training image itself
