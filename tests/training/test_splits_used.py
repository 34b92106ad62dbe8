"""Which splits a run uses, and that it prints them."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from remoteclip_jax.data.classes import DIOR_CLASSES
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.data import RunData
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.evaluation_data import EvalSettings
from remoteclip_jax.tasks.configuration import new_config
from remoteclip_jax.tasks.evaluating import evaluate
from remoteclip_jax.tasks.registry import find_task
from remoteclip_jax.tasks.training import train
from tests.data.sample_datasets import write_class_folders, write_flat, write_image, write_lines, write_voc


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight images to train on, two to validate, one to test, all different."""
    for number, split in enumerate(["train"] * 8 + ["val"] * 2 + ["test"]):
        stem = f"{split}_{number}"
        write_image(tmp_path / f"data/images/{stem}.jpg", colour=(20 * number, 90, 60))
        write_voc(tmp_path / f"data/annotations/{stem}.xml")
    for split in ("train", "val", "test"):
        stems = sorted(path.stem for path in (tmp_path / "data/images").glob(f"{split}_*"))
        write_lines(tmp_path / f"data/splits/{split}.txt", *stems)
    return tmp_path / "data"


def prepared(data: Path, **settings: Any) -> RunData:
    config = new_config({"preset": "tiny", "data_dir": str(data), **settings})
    return find_task(config.task).read(config, RunDirectory(data.parent / "run"))


def images(dataset: Any) -> set[str]:
    return {example.image.name for example in dataset.examples} if dataset else set()


def test_the_usual_splits(data: Path) -> None:
    got = prepared(data, task="detect")
    assert [len(images(d)) for d in (got.train, got.val, got.final)] == [8, 2, 1]
    assert got.notes[0] == f"data: DIOR in {data}: train 8 images, val 2 images, test 1 images"
    assert prepared(data).final is not None
    assert prepared(data).notes == (f"data: DIOR in {data}: train 8 images, val 2 images",)


def test_synonyms_are_found(data: Path) -> None:
    (data / "splits/val.txt").rename(data / "splits/validation.txt")
    got = prepared(data)
    assert len(images(got.val)) == 2
    assert got.notes[0].endswith("train 8 images, val 2 images (its split 'validation')")


def test_a_missing_validation_split_is_noted_with_the_remedy(data: Path) -> None:
    (data / "splits/val.txt").unlink()
    got = prepared(data)
    assert got.val is None
    assert got.notes[0].endswith(
        "train 8 images; no validation: there is no split for it (--val_share=0.1 takes one from the training images)"
    )


def test_what_is_trained_on_is_not_validated_on(data: Path) -> None:
    for own_list in (False, True):
        if own_list:
            both = [path.stem for path in (data / "images").glob("*_*") if not path.stem.startswith("test")]
            write_lines(data / "splits/trainval.txt", *sorted(both))
        got = prepared(data, train_split="trainval")
        assert (len(images(got.train)), got.val) == (10, None)
        assert "no validation: 'trainval' has its images, too (--val_share=0.1" in got.notes[0]
        with pytest.raises(UserError, match="--val_split=val is trained on"):
            prepared(data, train_split="trainval", val_split="val")
    joined = prepared(data, train_split="train+val", val_split="test")
    assert (len(images(joined.train)), len(images(joined.val))) == (10, 1)


def test_images_of_two_splits_are_left_out_of_validation(data: Path) -> None:
    write_lines(data / "splits/night.txt", "train_0", "val_8", "val_9")
    got = prepared(data, val_split="night")
    assert images(got.val) == {"val_8.jpg", "val_9.jpg"}
    assert "night: 1 images left out, because they are trained on" in got.notes
    shutil.copy(data / "splits/train.txt", data / "splits/same.txt")
    got = prepared(data, val_split="same")
    assert got.val is None
    assert "no validation: all images of 'same' are trained on" in got.notes[0]


def test_copies_of_training_images_are_noted(data: Path) -> None:
    for name in ("val_8", "test_10"):
        shutil.copy(data / "images/train_3.jpg", data / f"images/{name}.jpg")
    notes = prepared(data, task="detect").notes
    assert any(note.startswith("val: 1 of 2 images are trained on, too") for note in notes)
    assert any(note.startswith("test: 1 of 1 images are trained on, too") for note in notes)


def test_a_share_for_validation(data: Path) -> None:
    got = prepared(data, val_share=0.25, task="detect")
    assert (len(images(got.train)), len(images(got.val)), len(images(got.final))) == (6, 2, 1)
    assert not images(got.train) & images(got.val)
    assert images(got.train) | images(got.val) == {p.name for p in (data / "images").glob("train_*")}
    assert got.notes[0].endswith("train 6 images, val 2 images, test 1 images; its split 'val' is not used")
    assert any("2 of the 8 images of 'train' are taken for validation" in note for note in got.notes)
    assert images(prepared(data, val_share=0.25).val) == images(got.val)
    (data / "splits/test.txt").unlink()
    assert images(prepared(data, val_share=0.25, task="detect").final) == images(got.val)
    assert len(images(prepared(data, val_share=0.3, train_split="trainval").val)) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val_share": 0.0}, "--val_share=0 is out of range"),
        ({"val_share": 1.0}, "--val_share=1 is out of range"),
        ({"val_share": 0.1, "val_split": "val"}, "leave out --val_split"),
        ({"train_split": "night"}, "has no split 'night'; it has train, val, trainval, test: name one of these"),
        ({"val_split": "night"}, "has no split 'night'"),
        ({"test_split": "night", "task": "detect"}, "has no split 'night'"),
    ],
)
def test_settings_that_cannot_be(data: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepared(data, **settings)


def test_a_class_that_the_data_lack_is_noted(data: Path) -> None:
    write_lines(data / "classes.txt", "ship", "dam", "bridge")
    notes = prepared(data, classes=str(data / "classes.txt")).notes
    assert "train: no object of dam, bridge, which --classes or --text_embeddings names" in notes
    assert not any("no object of" in note for note in prepared(data).notes)


def test_class_folders_without_splits(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", ".", port=6, beach=6)
    for number, path in enumerate(sorted(data.glob("*/*.jpg"))):
        write_image(path, colour=(20 * number, 90, 60))
    got = prepared(data, val_share=0.25)
    assert (len(got.train), len(got.val or ())) == (9, 3)
    assert "train: there are no splits here, so all images are read as 'train'" in got.notes


def test_broken_images_are_left_out_on_request(tmp_path: Path) -> None:
    data = write_flat(tmp_path / "data", "a", "b", "c")
    (data / "images/b.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="--skip_broken"):
        prepared(data)
    assert images(prepared(data, skip_broken=True).train) == {"a.jpg", "c.jpg"}


def test_evaluation_finds_what_was_kept_for_validation(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From settings to `eval/valid`, in YOLO's layout."""
    root = data.parent / "yolo"
    write_lines(root / "data.yaml", "train: images", f"names: [{', '.join(DIOR_CLASSES)}]")
    for number in range(12):
        write_image(root / f"images/{number}.jpg", colour=(20 * number, 90, 60))
        write_lines(root / f"labels/{number}.txt", f"{number} 0.3 0.45 0.4 0.5")
    settings = {"preset": "tiny", "max_steps": 1, "val_share": 0.25}
    run = train({**settings, "data_dir": str(root)}, data.parent / "run")
    result = evaluate(run, EvalSettings(split="valid"))
    assert result["images"] == 3
    assert (run / "eval/valid/metrics.json").exists()
    printed = capsys.readouterr().out
    assert f"data: YOLO in {root}: train 9 images, val 3 images\n" in printed
    assert f"data: YOLO in {root}: valid 3 images\n" in printed
