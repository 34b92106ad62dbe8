"""Images are found and their results are written whatever they and their folders are called."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import remoteclip_jax as rc
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.detector.inference import encode_prompts
from remoteclip_jax.tasks.detect.image_batches import detect_in_files
from remoteclip_jax.tasks.detect.image_results import check_output, find_images, result_names

NAMES = ("a\nb.png", "bad\udcff.png", "船.png", "[1].png", "a*?.png", "~.png", "-x.png", " .png")


@pytest.mark.parametrize("folder", ["photos", "photos [1]", "a*b", "bad\udcff"])
def test_found_by_folder_by_pattern_and_by_name(folder: str, tmp_path: Path) -> None:
    directory = tmp_path / folder
    directory.mkdir()
    for name in NAMES:
        (directory / name).touch()
    paths = sorted(directory / name for name in NAMES)
    assert find_images(str(directory), Notes("images")) == paths
    assert find_images(f"{directory}/*.png", Notes("images")) == paths
    assert find_images(f"{directory}/[[]1].png", Notes("images")) == [directory / "[1].png"]
    for path in paths:
        assert find_images(str(path), Notes("images")) == [path]


def test_patterns_in_folders(tmp_path: Path) -> None:
    for place in ("a1/x.png", "a2/b/x.png"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    assert find_images(f"{tmp_path}/a?/*.png", Notes("images")) == [tmp_path / "a1/x.png"]
    assert find_images(f"{tmp_path}/**/x.png", Notes("images")) == [tmp_path / "a1/x.png", tmp_path / "a2/b/x.png"]
    with pytest.raises(rc.UserError, match="no file matches this"):
        find_images(f"{tmp_path}/b[1]/*.png", Notes("images"))


def test_results_are_called_as_the_images(detect_run: Path, tmp_path: Path) -> None:
    detector = rc.load_detector(detect_run)
    prompts = encode_prompts(detector, None)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8))
    paths = [tmp_path / name for name in NAMES]
    for path in paths:
        image.save(path)
    output, names = tmp_path / "out", result_names(paths)
    output.mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    check_output(output, [*paths, tmp_path / "loop.png"], names)  # that it cannot be read is said later
    assert result_names([Path("classes.png"), Path("classes-2.png")], {"classes"}) == ["classes-3", "classes-2"]
    outputs = [output / name for name in names]
    options: dict[str, Any] = {"threshold": 0.3, "bands": None, "notes": Notes("images"), "batch_size": 1}
    assert len(list(detect_in_files(detector, prompts, paths, outputs, **options))) == len(NAMES)
    for path, name in zip(paths, names, strict=True):
        assert json.loads((output / f"{name}.json").read_text())["image"] == str(path)
        assert (output / f"{name}.jpg").exists()
    assert len(os.listdir(output)) == 2 * len(NAMES)
