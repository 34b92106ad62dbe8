"""Captions in tar shards."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import grain
import numpy as np
import pytest
import tifffile

from remoteclip_jax.data.cache import ImageCache
from remoteclip_jax.data.captions.reading import caption_splits, read_captions
from remoteclip_jax.data.image_sources import TarMember
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.pipeline import example_at, iterate_batches
from remoteclip_jax.errors import UserError
from tests.data.captions.sample_captions import image_bytes, pairs, write_shard, write_tar
from tests.data.sample_images import write_gradient


def test_a_shard(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "000.tar", "a ship\n", "two dams")
    dataset = read_captions(path, "train")
    assert pairs(dataset) == {"000000.jpg": ("a ship",), "000001.jpg": ("two dams",)}
    assert [example.width for example in dataset.examples] == [40, 41]
    assert str(dataset.examples[1].image) == f"{path}: 000001.jpg"
    assert dataset.layout == "captions in tar shards"


def test_shards_in_a_folder_have_splits_by_their_names(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0000.tar", "a")
    write_shard(tmp_path / "train-0001.tar", "b", "c")
    write_shard(tmp_path / "val-0000.tar", "d")
    (tmp_path / "train-0000_stats.json").write_text("{}")
    assert caption_splits(tmp_path) == ("train", "val")
    captions = [example.captions for example in read_captions(tmp_path, "train").examples]
    assert captions == [("a",), ("b",), ("c",)]  # images of the same name in different shards are different
    assert [e.captions for e in read_captions(tmp_path / "*.tar", "train+val").examples] == [*captions, ("d",)]
    assert len(read_captions(tmp_path / "train-*1.tar", "train")) == 2


def test_names_as_webdataset_has_them(tmp_path: Path) -> None:
    image = image_bytes()
    members = {
        "./": "",
        "a.b/x.JPG": image,
        "a.b/x.txt": "first",
        "a.b/x.cls": "7",
        "y.seg.png": b"no image of the sample",
        "y.png": image,
        "y.json": json.dumps({"caption": "second", "key": "y"}),
        "港口/z.jpeg": image,
        "港口/z.json": json.dumps({"txt": ["third", "fourth "]}),
        "._y.jpg": b"of a Mac",
        "README": "no sample",
        "w.jpg": image,
        "w.json": json.dumps({"caption": "not this"}),
        "w.txt": "fifth",
    }
    dataset = read_captions(write_tar(tmp_path / "a.tar", members), "train")
    assert pairs(dataset) == {
        "a.b/x.JPG": ("first",),
        "y.png": ("second",),
        "港口/z.jpeg": ("third", "fourth"),
        "w.jpg": ("fifth",),
    }


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.jpg", {"quality": 95}),
        ("a.png", {}),
        ("a.tif", {"compression": "tiff_lzw"}),
        ("a.webp", {}),
        ("a.jp2", {}),
        ("a.bmp", {}),
    ],
)
def test_an_image_is_the_same_in_a_shard(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    file = write_gradient(tmp_path / name, (300, 200), **options)
    shard = write_tar(tmp_path / "a.tar", [("0.txt", "x"), (f"0{file.suffix}", file.read_bytes()), ("1.txt", "y")])
    with pytest.raises(UserError, match="1 of 2 captioned images are missing, the first of them '1'"):
        read_captions(shard, "train")
    (example,) = read_captions(shard, "train", skip_broken=True).examples
    assert (example.width, example.height) == (300, 200)
    assert np.array_equal(read_image(example.image), read_image(file))
    assert np.array_equal(ImageCache(64).read(example.image, 64), ImageCache(64).read(file, 64))


def test_a_deep_image_in_a_shard(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 60000, (50, 40, 4)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    shard = write_tar(tmp_path / "a.tar", {"0.tif": (tmp_path / "a.tif").read_bytes(), "0.txt": "x"})
    dataset = read_captions(shard, "train", bands=(4, 3, 2))
    assert np.array_equal(
        read_image(dataset.examples[0].image, bands=(4, 3, 2)), read_image(tmp_path / "a.tif", bands=(4, 3, 2))
    )
    assert any("images of 4 bands" in note for note in dataset.notes)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.95])
def test_a_shard_cut_short(tmp_path: Path, share: float) -> None:
    path = write_shard(tmp_path / "train-0.tar", *map(str, range(10)))
    size = int(_content_size(path) * share)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match=r"train-0\.tar: is cut short: \d of its samples are whole; download it again"):
        read_captions(path, "train")
    dataset = read_captions(path, "train", skip_broken=True)
    assert 0 < len(dataset) < 10
    (note,) = dataset.notes
    assert note == f"train: train-0.tar is cut short: the {len(dataset)} samples that are whole are used"
    assert [example.captions for example in dataset.examples] == [(str(i),) for i in range(len(dataset))]


def test_a_shard_cut_between_two_members_or_before_its_end(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar", "x", "y")
    with tarfile.open(path) as tar:
        places = [member.offset for member in tar]
    content = path.read_bytes()
    for place, whole in ((places[2], 1), (places[3], 1), (_content_size(path), 2)):
        path.write_bytes(content[:place])
        with pytest.raises(UserError, match=f"cut short: {whole} of its samples are whole"):
            read_captions(path, "train")
        assert len(read_captions(path, "train", skip_broken=True)) == whole


def _content_size(path: Path) -> int:
    """The bytes of an archive before the blocks that mark its end."""
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    return last.offset_data + -(-last.size // 512) * 512


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_shards_are_refused(tmp_path: Path, mode: str) -> None:
    for name in ("a.tar.gz", "a.tar"):
        with tarfile.open(tmp_path / name, mode) as tar:
            tar.addfile(tarfile.TarInfo("0.txt"), io.BytesIO())
        with pytest.raises(UserError, match=r"is compressed, so that it cannot be read at random; unpack"):
            read_captions(tmp_path / name, "train")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("0.jpg", image_bytes()), ("0.txt", b"caf\xe9")], r"a\.tar: 0\.txt: not a text in UTF-8"),
        ([("0.jpg", image_bytes()), ("0.json", "{")], r"a\.tar: 0\.json: broken JSON"),
        ([("0.jpg", image_bytes()), ("0.json", '{"caption": 7}')], r"a\.tar: 0\.json: the caption '7' is not a text"),
        ([("0.jpg", image_bytes()), ("0.jpg", image_bytes())], r"a\.tar: two members are called '0\.jpg'"),
        ([("0.jpg", b"nothing"), ("0.txt", "x")], r"a\.tar: 0\.jpg: cannot be read as an image"),
        ([("0.jpg", b""), ("0.txt", "x")], r"a\.tar: 0\.jpg: cannot be read as an image \(the file is empty"),
        ([("0.txt", "x")], r"1 of 1 captioned images are missing, the first of them '0' .*make it again"),
        ([("0.jpg", image_bytes())], "no image of the split 'train' has a caption"),
        ([], "no image of the split 'train' has a caption"),
    ],
)
def test_broken_shards(tmp_path: Path, members: list[tuple[str, bytes | str]], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        read_captions(write_tar(tmp_path / "a.tar", members), "train")
    assert str(tmp_path / "a.tar") in str(error.value)


def test_what_is_no_archive(tmp_path: Path) -> None:
    for content in (b"<html>", os.urandom(2000), b"\0" * 100):
        (tmp_path / "a.tar").write_bytes(content)
        with pytest.raises(UserError, match=r"a\.tar: (not a tar archive|is cut short)"):
            read_captions(tmp_path / "a.tar", "train")


def test_captions_that_are_missing_are_counted(tmp_path: Path) -> None:
    members = {"0.jpg": image_bytes(), "0.txt": "x", "1.jpg": image_bytes(), "2.jpg": image_bytes(), "2.txt": " \n"}
    dataset = read_captions(write_tar(tmp_path / "a.tar", members), "train")
    assert pairs(dataset) == {"0.jpg": ("x",)}
    assert any("2 images without a caption skipped (first in a.tar, sample '1')" in note for note in dataset.notes)
    assert any("1 blank captions dropped (first in a.tar, sample '2')" in note for note in dataset.notes)


def test_images_that_are_skipped_are_counted_over_all_shards(tmp_path: Path) -> None:
    for number in range(3):
        members = {"0.jpg": b"broken", "0.txt": "x", "1.txt": "y", "2.jpg": image_bytes(number), "2.txt": "z"}
        write_tar(tmp_path / f"train-{number}.tar", members)
    dataset = read_captions(tmp_path, "train", skip_broken=True)
    assert [example.captions for example in dataset.examples] == [("z",)] * 3
    assert dataset.notes == (
        "train: 6 images cannot be read and are left out (train-0.tar: 1, train-1.tar: 1, train-2.tar: 1 and 3 more)",
    )


def test_a_member_reads_like_a_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 100
    path = write_tar(tmp_path / "a.tar", [("x", b"before" * 1000), ("y", content), ("z", b"after" * 1000)])
    with tarfile.open(path) as tar:
        info = tar.getmember("y")
    rng, plain = np.random.default_rng(0), io.BytesIO(content)
    with TarMember(path, "y", info.offset_data, info.size).open() as file:
        for _ in range(300):
            whence = int(rng.integers(3))
            place = int(rng.integers(len(content))) * (-1 if whence == 2 else 1)
            assert file.seek(place // 2 if whence == 1 else place, whence) == plain.seek(
                place // 2 if whence == 1 else place, whence
            )
            count = int(rng.integers(20000))
            assert file.read(count) == plain.read(count)
            if plain.tell() > len(content) // 2:
                file.seek(0)
                plain.seek(0)
        file.seek(0)
        assert file.read() == content
        assert file.read() == b""


def test_batches_do_not_depend_on_where_they_begin(tmp_path: Path) -> None:
    for number in range(3):
        write_shard(tmp_path / f"train-{number}.tar", *map(str, range(7)), first=7 * number)
    dataset = read_captions(tmp_path, "train")

    def batches(begin: int) -> list[np.ndarray]:
        def load(position: int) -> dict[str, np.ndarray]:
            example, rng = example_at(dataset, 24, seed=0, position=position)
            image = read_image(example.image).resize((8, 8))
            return {"image": np.asarray(image), "caption": rng.integers(len(example.captions))}

        stream = iterate_batches(grain.MapDataset.range(begin, 48), load, 6)
        return [batch["image"] for batch in stream]

    assert np.array_equal(batches(0)[3:], batches(18))


def test_reading_captions_imports_no_torch() -> None:
    program = "import sys, remoteclip_jax.data.captions.reading; assert not {'torch', 'webdataset'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
