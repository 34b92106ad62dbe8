"""What holds for caption files of every format: which files, which split, which images."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tifffile

from remoteclip_jax.data.captions.reading import caption_splits, read_captions
from remoteclip_jax.data.holdout import duplicate_notes, hold_out, without_shared_files
from remoteclip_jax.data.reading import EmptySplitError, dataset_summary
from remoteclip_jax.errors import UserError
from tests.data.captions.sample_captions import coco_captions, image_bytes, pairs, rsicd_image, write_rsicd, write_shard
from tests.data.sample_datasets import truncate, write_image, write_json, write_lines, write_noise


def lines(root: Path, *rows: str, name: str = "captions.csv") -> Path:
    write_lines(root / name, "filepath,title", *rows)
    return root / name


def test_splits_by_synonym_and_joined(tmp_path: Path) -> None:
    images = [rsicd_image(f"{split}.jpg", split, split=split) for split in ("train", "val", "test")]
    path = write_rsicd(tmp_path, *images)
    joined = read_captions(path, "train+val")
    assert list(pairs(joined)) == ["train.jpg", "val.jpg"]
    assert (joined.split, joined.source_split) == ("train+val", "train+val")
    assert list(pairs(read_captions(path, "trainval"))) == ["train.jpg", "val.jpg"]
    assert dataset_summary(path, [read_captions(path, "valid")]) == (
        f"data: captions in RSICD's JSON in {path}: valid 1 images (its split 'val')"
    )
    for split in ("train2017x", "train+other", "minival"):
        with pytest.raises(UserError, match=r"has no split '.*'; it has train, val, test: name one of these"):
            read_captions(path, split)


def test_two_splits_that_may_be_meant(tmp_path: Path) -> None:
    for year in (2014, 2017):
        write_json(tmp_path / f"captions_train{year}.json", coco_captions())
    with pytest.raises(UserError, match="may be 'train2014' or 'train2017'"):
        read_captions(tmp_path, "train")


def test_several_files(tmp_path: Path) -> None:
    for split, image in (("train", "a.jpg"), ("val", "b.jpg")):
        write_image(tmp_path / image)
        lines(tmp_path, f"{image},x", name=f"{split}.csv")
    for source in (tmp_path, tmp_path / "*.csv"):
        assert caption_splits(source) == ("train", "val")
        assert list(pairs(read_captions(source, "val"))) == ["b.jpg"]


def test_what_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    lines(tmp_path, "a.jpg,x")
    write_json(tmp_path / "captions.json", coco_captions())
    for source, message in (
        (tmp_path / "nothing.json", "no such file; --captions takes a JSON file"),
        (tmp_path / "*.tar", "no such file; --captions takes"),
        (tmp_path / "empty", "no caption file in this folder; --captions takes"),
        (tmp_path, "captions.csv and captions.json are of different kinds; name one kind of files"),
    ):
        with pytest.raises(UserError, match=message) as error:
            read_captions(source, "train")
        assert str(source) in str(error.value)
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        read_captions(tmp_path / "captions.csv", "train", tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"captions\.csv: a file; name the folder of the images"):
        read_captions(tmp_path / "captions.csv", "train", tmp_path / "captions.csv")


def test_a_file_is_recognised_by_its_content(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_shard(tmp_path / "x.tar", "a").rename(tmp_path / "shard.data")
    write_json(tmp_path / "y.json", {"images": [rsicd_image("a.jpg", "b")]}).rename(tmp_path / "list")
    lines(tmp_path, "a.jpg,c", name="captions.txt")
    for name, caption in (("shard.data", "a"), ("list", "b"), ("captions.txt", "c")):
        assert [e.captions for e in read_captions(tmp_path / name, "train").examples] == [(caption,)]


@pytest.mark.parametrize(
    "place", ["a.jpg", "images/a.jpg", "RSICD_images/a.jpg", "train/a.jpg", "images/train2017/a.jpg", "deep/down/a.jpg"]
)
def test_where_images_are_looked_for(tmp_path: Path, place: str) -> None:
    write_image(tmp_path / "data" / place)
    write_image(tmp_path / "data/val/a.jpg", size=(10, 10))
    path = write_json(tmp_path / "c.json", {"images": [rsicd_image("a.jpg", "x")]})
    (example,) = read_captions(path, "train", tmp_path / "data").examples if "deep" not in place else [None]
    if example is None:  # two images of this name, neither of which is in a likely place
        with pytest.raises(UserError, match=r"the image 'a\.jpg': 'a\.jpg' may be .* or "):
            read_captions(path, "train", tmp_path / "data")
        (tmp_path / "data/val/a.jpg").unlink()
        (example,) = read_captions(path, "train", tmp_path / "data").examples
    assert example.image == tmp_path / "data" / place


def test_names_of_other_machines_and_beside_the_file(tmp_path: Path) -> None:
    a, b = write_image(tmp_path / "data/images/a b.jpg"), write_image(tmp_path / "captions/b.jpg")
    c = write_image(tmp_path / "elsewhere/c.jpg")
    rows = ("C:\\data\\images\\a b.jpg,x", "b.jpg,y", f"{c},z")
    dataset = read_captions(lines(tmp_path / "captions", *rows), "train", tmp_path / "data")
    assert [example.image for example in dataset.examples] == [a, b, c]


def test_missing_images(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    path = lines(tmp_path, "b.jpg,x", "a.jpg,y", "c.jpg,z", "d.jpg,")
    with pytest.raises(UserError) as error:
        read_captions(path, "train")
    assert str(error.value) == (
        f"{path}: 2 of 3 captioned images are missing, the first of them 'b.jpg' (captions.csv, line 2), which is not "
        f"in {tmp_path}; name the folder of the images with --data_dir (--skip_broken leaves such images out)"
    )
    dataset = read_captions(path, "train", skip_broken=True)
    assert pairs(dataset) == {"a.jpg": ("y",)}
    assert "train: 2 images cannot be read and are left out (b.jpg, c.jpg)" in dataset.notes


def test_broken_images(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    truncate(write_noise(tmp_path / "b.png", 64))
    path = lines(tmp_path, "a.png,x", "b.png,y")
    assert len(read_captions(path, "train")) == 2  # the header is whole
    dataset = read_captions(path, "train", skip_broken=True)
    assert pairs(dataset) == {"a.png": ("x",)}
    assert "train: 1 images cannot be read and are left out (b.png)" in dataset.notes
    (tmp_path / "b.png").write_text("nothing")
    with pytest.raises(UserError, match=r"b\.png: cannot be read as an image .*--skip_broken"):
        read_captions(path, "train")


def test_blank_captions_and_images_without_one(tmp_path: Path) -> None:
    images = [rsicd_image("a.jpg", "x", " ", ""), rsicd_image("b.jpg"), rsicd_image("c.jpg", "\u3000\n")]
    dataset = read_captions(write_rsicd(tmp_path, *images), "train")
    assert pairs(dataset) == {"a.jpg": ("x",)}
    assert dataset.notes == (
        "train: 3 blank captions dropped (first in dataset_rsicd.json, the image 'a.jpg')",
        "train: 2 images without a caption skipped (first in dataset_rsicd.json, the image 'b.jpg')",
    )


def test_no_caption_at_all(tmp_path: Path) -> None:
    path = write_rsicd(tmp_path, rsicd_image("a.jpg"), rsicd_image("b.jpg", " "))
    with pytest.raises(EmptySplitError, match=r"dataset_rsicd\.json: no image of the split 'train' has a caption"):
        read_captions(path, "train")


def test_an_image_listed_twice(tmp_path: Path) -> None:
    path = write_rsicd(tmp_path, rsicd_image("a.jpg", "x", "y"), rsicd_image("b.jpg", "z"), rsicd_image("a.jpg", "x"))
    (tmp_path / "RSICD_images/b.jpg").unlink()
    (tmp_path / "RSICD_images/b.jpg").symlink_to("a.jpg")
    dataset = read_captions(path, "train")
    assert pairs(dataset) == {"a.jpg": ("x", "y", "z", "x")}
    (note,) = dataset.notes
    assert note.startswith("train: 2 images listed again, whose captions are joined (first in")


def test_bands(tmp_path: Path) -> None:

    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((20, 30, 4), np.uint16), photometric="minisblack", planarconfig="contig"
    )
    path = lines(tmp_path, "a.tif,x")
    dataset = read_captions(path, "train", bands=(4, 3, 2))
    assert dataset.bands == (4, 3, 2)
    assert (dataset.examples[0].width, dataset.examples[0].height) == (30, 20)
    with pytest.raises(UserError, match="has 4 bands"):
        read_captions(path, "train", bands=(5, 3, 2))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    assert pairs(read_captions(lines(tmp_path, "a.jpg,x"), "train")) == {"a.jpg": ("x",)}
    assert pairs(read_captions(lines(tmp_path, "a.jpg,a new one"), "train")) == {"a.jpg": ("a new one",)}


def test_validation_is_held_out_of_shards(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0.tar", *"abcdefgh")
    write_shard(tmp_path / "val-0.tar", "copy of a", "copy of b")
    train = read_captions(tmp_path, "train")
    rest, val = hold_out(train, 0.25, seed=0)
    assert (len(rest), len(val)) == (6, 2)
    assert {e.captions for e in (*rest.examples, *val.examples)} == {e.captions for e in train.examples}
    assert without_shared_files(train, rest)[1] == 6
    assert without_shared_files(read_captions(tmp_path, "val"), train)[1] == 0
    (note,) = duplicate_notes(read_captions(tmp_path, "val"), train)
    assert "2 of 2 images are trained on" in note
    unlike = dataclasses.replace(train, examples=train.examples[4:])
    assert duplicate_notes(read_captions(tmp_path, "val"), unlike) == ()
    (tmp_path / "copy.jpg").write_bytes(image_bytes(0))
    (note,) = duplicate_notes(read_captions(lines(tmp_path, "copy.jpg,x"), "train"), train)
    assert f"{tmp_path / 'copy.jpg'} is {tmp_path / 'train-0.tar'}: 000000.jpg" in note
