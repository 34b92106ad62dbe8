"""Captions from boxes, as a file."""

import json
import re
from pathlib import Path

import pytest

from remoteclip_jax.clip.caption_file import write_box_captions
from remoteclip_jax.data.captions.reading import caption_splits, read_captions
from remoteclip_jax.data.reading import read_dataset
from tests.command import ROOT, all_fail, run
from tests.data.captions.sample_captions import pairs
from tests.data.sample_datasets import (
    coco_content,
    write_class_folders,
    write_coco,
    write_flat,
    write_image,
    write_lines,
    write_official,
    write_voc,
)
from tests.shared_data import SHARED, requires_shared


def converted(data_dir: Path, output: Path, *flags: str) -> str:
    result = run("-m", "convert.captions", f"--data_dir={data_dir}", f"--output={output}", *flags)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def written(*splits: str, data_dir: Path, output: Path, seed: int = 0) -> dict[str, tuple[str, ...]]:
    """The captions by file names, as read back."""
    datasets = [read_dataset(data_dir, split) for split in splits]
    output.unlink(missing_ok=True)
    write_box_captions(datasets, data_dir, output, seed)
    return {name: texts for split in splits for name, texts in pairs(read_captions(output, split, data_dir)).items()}


def test_there_and_back(tmp_path: Path) -> None:
    data = write_official(tmp_path / "data")
    lines = converted(data, tmp_path / "new/captions.json")
    assert "trainval: not written" in lines
    assert "five captions for each of 5 images (train 2 images, val 1 images, test 2 images)" in lines
    content = json.loads((tmp_path / "new/captions.json").read_text())
    assert content["dataset"] == "data"
    assert [image["imgid"] for image in content["images"]] == list(range(5))
    assert content["images"][0]["filename"] == "JPEGImages-trainval/00001.jpg"
    assert caption_splits(tmp_path / "new/captions.json") == ("train", "val", "test")
    for split in ("train", "val", "test"):
        back = read_captions(tmp_path / "new/captions.json", split, data)
        assert [e.image for e in back.examples] == [e.image for e in read_dataset(data, split).examples]
        stored = [image for image in content["images"] if image["split"] == split]
        assert [list(e.captions) for e in back.examples] == [[s["raw"] for s in i["sentences"]] for i in stored]
        assert all(len(set(e.captions)) == 5 and "ship" in e.captions[2] for e in back.examples)
        assert back.notes == ()


def test_captions_depend_on_the_file_name_and_the_seed_alone(tmp_path: Path) -> None:
    names = [f"image_{i}" for i in range(12)]
    write_flat(tmp_path, *names)
    write_lines(tmp_path / "splits/val.txt", *reversed(names[:5]))
    output = tmp_path / "captions.json"
    first = written("train", data_dir=tmp_path, output=output)
    assert len(set(first.values())) > 5
    assert written("val", "train", data_dir=tmp_path, output=output) == first
    assert written("val", data_dir=tmp_path, output=output).items() < first.items()
    assert written("train", data_dir=tmp_path, output=output, seed=1) != first
    content = output.read_bytes()
    written("train", data_dir=tmp_path, output=output, seed=1)
    assert output.read_bytes() == content


def test_images_without_objects_are_counted(tmp_path: Path) -> None:
    write_flat(tmp_path, "a", "b", "c")
    for name in "bc":
        write_voc(tmp_path / f"annotations/{name}.xml", [])
    lines = converted(tmp_path, tmp_path / "captions.json")
    assert "train: 2 images without objects left out, for there is nothing to say about them (first in b.jpg)" in lines
    assert list(pairs(read_captions(tmp_path / "captions.json", "train"))) == ["a.jpg"]


def test_ignored_objects_are_not_mentioned(tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"][0]["iscrowd"] = 1
    found = written("train", data_dir=write_coco(tmp_path, content), output=tmp_path / "c.json")
    assert list(found) == ["a.jpg"]
    assert all("ship" in caption and "dam" not in caption for caption in found["a.jpg"])


def test_unicode(tmp_path: Path) -> None:
    write_image(tmp_path / "images/港口 é.jpg")
    write_voc(tmp_path / "annotations/港口 é.xml", [("船", 4, 8, 20, 28)])
    write_lines(tmp_path / "splits/train.txt", "港口 é")
    write_lines(tmp_path / "classes.txt", "船")
    found = written("train", data_dir=tmp_path, output=tmp_path / "c.json")
    assert list(found) == ["港口 é.jpg"]
    assert all("船" in caption for caption in found["港口 é.jpg"])


def test_mistakes(tmp_path: Path) -> None:
    data = write_flat(tmp_path / "data", "a")
    write_class_folders(tmp_path / "folders", "train", ship=1)
    write_flat(tmp_path / "empty", "a")
    write_voc(tmp_path / "empty/annotations/a.xml", [])
    (tmp_path / "there.json").write_text("mine")
    new = tmp_path / "new.json"
    cases = {
        (data, tmp_path / "there.json"): "there.json: exists; choose another --output or remove it",
        (data, tmp_path): "is a folder; --output takes a file",
        (tmp_path / "nothing", new): "nothing: no such directory",
        (tmp_path / "folders", new): "class folders have no boxes",
        (tmp_path / "empty", new): "no image has an object, so there is nothing to write captions about",
    }
    errors = all_fail("convert.captions", *[(f"--data_dir={d}", f"--output={o}") for d, o in cases])
    for error, message in zip(errors, cases.values(), strict=True):
        assert message in error
    assert (tmp_path / "there.json").read_text() == "mine"
    assert not new.exists()


@pytest.fixture(scope="module")
def dior_mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real annotations of DIOR mini, with blank images."""
    root = tmp_path_factory.mktemp("dior_mini")
    for name in ("annotations", "splits"):
        (root / name).symlink_to(SHARED / "dior_mini" / name)
    for path in (SHARED / "dior_mini/annotations").glob("*.xml"):
        write_image(root / f"images/{path.stem}.jpg", size=(800, 800))
    return root


@requires_shared
def test_captions_of_real_annotations(dior_mini: Path, tmp_path: Path) -> None:
    found = written("train", "val", "test", data_dir=dior_mini, output=tmp_path / "captions.json")
    captions = [caption for texts in found.values() for caption in texts]
    assert (len(found), len(captions)) == (100, 500)
    assert all(re.fullmatch(r"[A-Z][a-z ,]+\.", caption) for caption in captions)
    assert all(len(set(texts)) == 5 for texts in found.values())
    assert sum(bool(re.search("many|a lot of", caption)) for caption in captions) > 20


@requires_shared
def test_the_guide_shows_real_captions(dior_mini: Path, tmp_path: Path) -> None:
    found = written("train", "val", "test", data_dir=dior_mini, output=tmp_path / "captions.json")
    shown = re.findall(r"^\| `(DIOR_\d+)` \| (.*) \|$", (ROOT / "docs/captions.md").read_text(), flags=re.M)
    assert [text for _, text in shown] == [text for name, _ in dict(shown).items() for text in found[f"{name}.jpg"]]
    assert len(shown) == 10
