"""Synthetic data sets: reproducible files, refused settings, the command line and its worker processes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from defusedxml import ElementTree
from PIL import Image

from remoteclip_jax.errors import UserError
from remoteclip_jax.scenes import generate_dataset
from remoteclip_jax.scenes.images import generate_scene, pixel_boxes
from remoteclip_jax.scenes.workers import generate_images

ROOT = Path(__file__).parents[2]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_boxes_are_inside_the_image_and_annotated_in_whole_pixels(tmp_path: Path) -> None:
    generate_dataset(tmp_path / "d", 20, 2, 2, seed=3, image_size=96)
    lists = {s: (tmp_path / f"d/splits/{s}.txt").read_text().split() for s in ("train", "val", "test")}
    assert {k: len(v) for k, v in lists.items()} == {"train": 20, "val": 2, "test": 2}
    for split, names in lists.items():
        for i, name in enumerate(names):
            with Image.open(tmp_path / f"d/images/{name}.jpg") as image:
                assert (image.size, image.mode) == ((96, 96), "RGB")
            root = ElementTree.parse(tmp_path / f"d/annotations/{name}.xml").getroot()
            assert root.findtext("filename") == f"{name}.jpg"
            assert [root.findtext(f"size/{k}") for k in ("width", "height", "depth")] == ["96", "96", "3"]
            boxes, labels = pixel_boxes(generate_scene(3, split, i), 96)
            assert [o.findtext("name") for o in root.iter("object")] == labels
            corners = [[int(b.findtext(k, "")) for k in ("xmin", "ymin", "xmax", "ymax")] for b in root.iter("bndbox")]
            found = np.array(corners)
            assert found.min() >= 1
            assert found.max() <= 96
            assert (found[:, 2:] > found[:, :2]).all()
            assert np.abs(found - boxes).max() <= 1


def test_an_image_depends_only_on_seed_split_and_index(tmp_path: Path) -> None:
    for name, args in (("one", (8, 2, 0, 0)), ("two", (8, 2, 0, 0)), ("more", (10, 3, 1, 0)), ("other", (8, 2, 0, 1))):
        *counts, seed = args
        generate_dataset(tmp_path / name, *counts, seed=seed, image_size=64, workers=2 if name == "two" else 1)
    one, two, more, other = (files(tmp_path / n) for n in ("one", "two", "more", "other"))
    assert one == two
    written = [k for k in one if k.startswith(("images/", "annotations/"))]
    assert len(written) == 20
    assert all(one[k] == more[k] != other[k] for k in written)
    assert len({one[k] for k in written}) == 20  # val_00000 is not train_00000


def test_an_interrupted_data_set_is_completed_and_a_complete_one_is_not_changed(tmp_path: Path) -> None:
    settings = {"train": 5, "val": 1, "test": 1, "seed": 0, "image_size": 64, "workers": 1}
    generate_dataset(tmp_path, **settings)
    complete = files(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.jpg")}
    generate_dataset(tmp_path, **settings)
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.jpg")}
    for removed in ("splits/train.txt", "images/train_00003.jpg", "annotations/train_00001.xml"):
        (tmp_path / removed).unlink()
    (tmp_path / "images/train_00003.jpg.17.part").write_bytes(b"half")
    generate_dataset(tmp_path, **settings)
    assert files(tmp_path) == complete


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": -1}, "--train=-1"),
        ({"train": 0, "val": 0, "test": 0}, "all 0"),
        ({"image_size": 63}, "--image_size=63"),
        ({"image_size": 100000}, "--image_size=100000"),
        ({"seed": -3}, "--seed=-3"),
    ],
)
def test_invalid_settings_are_refused_before_anything_is_written(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate_dataset(tmp_path / "d", **{"train": 1, "val": 1, "test": 1, "seed": 0, "image_size": 64, **change})
    assert not (tmp_path / "d").exists()


def test_a_folder_with_other_content_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").write_text("ten years of work")
    with pytest.raises(UserError, match="full: is not empty"):
        generate_dataset(tmp_path / "full", 1, 0, 0, seed=0, image_size=64)
    assert files(tmp_path / "full") == {"thesis.tex": b"ten years of work"}
    generate_dataset(tmp_path / "synthetic", 1, 0, 0, seed=0, image_size=64)
    with pytest.raises(UserError, match=r"other settings .*seed=0"):
        generate_dataset(tmp_path / "synthetic", 1, 0, 0, seed=1, image_size=64)


def test_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "remoteclip_jax.scenes", "--val=0", "--test=0", "--image_size=64"]
    result = subprocess.run([*command, "--train=1", f"--output={tmp_path}/d"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "d/splits/train.txt").read_text() == "train_00000\n"
    bad = subprocess.run([*command, "--train=-1", f"--output={tmp_path}/e"], cwd=ROOT, capture_output=True, text=True)
    assert (bad.returncode, bad.stderr.count("\n")) == (2, 1)
    assert bad.stderr.startswith("error: --train=-1")


def test_a_worker_process_loads_neither_jax_nor_torch() -> None:
    code = "import sys, remoteclip_jax.scenes.workers; print({'jax', 'torch'} & set(sys.modules) or 'neither')"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "neither"


def test_a_failing_worker_process_is_reported(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="No such file"):
        generate_images(tmp_path / "nowhere", 0, 64, [("train", 0), ("train", 1)], 2, lambda: None)
