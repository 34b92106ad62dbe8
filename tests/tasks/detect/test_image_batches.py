"""Many image files at a time: what is found, in which order, and how many images are in memory."""

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import remoteclip_jax as rc
from remoteclip_jax.data.georeference import NO_RASTERIO
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.detector import inference
from remoteclip_jax.detector.searching import find_in_images
from remoteclip_jax.results.image_result import ResultSettings
from remoteclip_jax.tasks.detect import image_batches
from remoteclip_jax.tasks.detect.image_batches import detect_in_files
from tests.data.test_georeference import MAPS, write_map
from tests.detector.small_model import SMALL, TINY, random_texts, random_variables

CLASSES = tuple("abcdefgh")
THRESHOLD = 0.1
BROKEN = 3  # its place among the images


@pytest.fixture(scope="module")
def detector() -> rc.TrainedDetector:
    texts = random_texts(len(CLASSES))
    return rc.TrainedDetector(TINY, SMALL, random_variables(SMALL), (64, 96), CLASSES, texts, None, "float32", 30)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images of several sizes, one of them to be turned, one of them deep, and a broken one."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = [folder / f"{i}.png" for i in range(8)]
    for i, path in enumerate(paths):
        blocks = rng.integers(0, 256, (5 + i, 9, 3))
        exif = Image.Exif()
        exif[274] = 6 if i == 1 else 1  # 6: to be turned by 90° clockwise
        image = Image.fromarray(np.kron(blocks, np.ones((9, 9, 1))).astype(np.uint8))
        if i == 5:
            image = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
        image.save(path, exif=exif)
    paths[BROKEN].write_bytes(paths[BROKEN].read_bytes()[:200])
    return paths


def detect(
    detector: rc.TrainedDetector,
    paths: Sequence[Path],
    output: Path,
    batch_size: int,
    notes: Notes | None = None,
    **options: Any,
) -> Any:
    return detect_in_files(
        detector,
        inference.encode_prompts(detector, None),
        paths,
        [output / path.stem for path in paths],
        threshold=THRESHOLD,
        bands=None,
        notes=notes or Notes("images"),
        batch_size=batch_size,
        **options,
    )


def test_what_is_written_for_each_image(detector: rc.TrainedDetector, paths: list[Path], tmp_path: Path) -> None:
    """In the order of the images, also beside a broken one."""
    notes = Notes("images")
    outcomes = list(detect(detector, paths, tmp_path, 3, notes))
    assert len(outcomes) == len(paths)
    assert isinstance(outcomes[BROKEN], rc.UserError)
    assert str(paths[BROKEN]) in str(outcomes[BROKEN])
    assert len(list(tmp_path.iterdir())) == 2 * (len(paths) - 1)
    (note,) = notes.lines()
    assert "1 images of uint16 values" in note
    assert "5.png" in note
    for path, outcome in zip(paths, outcomes, strict=True):
        if path == paths[BROKEN]:
            continue
        expected = rc.detect(detector, path, score_threshold=THRESHOLD)
        assert outcome == Counter(CLASSES[label] for label in expected.labels)
        content = json.loads((tmp_path / f"{path.stem}.json").read_text())
        assert (content["width"], content["height"]) == read_image(path).size
        assert len(content["detections"]) == len(expected) > 0
        # The file has hundredths of a pixel.
        np.testing.assert_allclose([d["box"] for d in content["detections"]], expected.boxes, atol=0.005 + 1e-3)


def test_an_image_that_is_damaged_in_parts_is_written_and_reported(
    detector: rc.TrainedDetector, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage = rc.UserError("a tile is missing")

    def damaged(*arguments: Any, **options: Any) -> Any:
        for image in find_in_images(*arguments, **options):
            yield dataclasses.replace(image, damage=damage)

    monkeypatch.setattr(image_batches, "find_in_images", damaged)
    assert list(detect(detector, paths[:1], tmp_path, 1)) == [damage]
    assert len(list(tmp_path.iterdir())) == 2


def test_nothing_is_half_written_when_it_is_closed(
    detector: rc.TrainedDetector, paths: list[Path], tmp_path: Path
) -> None:
    many = [tmp_path / f"{i}.png" for i in range(60)]
    for path in many:
        path.symlink_to(paths[0])
    (tmp_path / "out").mkdir()
    outcomes = detect(detector, many, tmp_path / "out", 3)
    next(outcomes)
    outcomes.close()
    assert len(list((tmp_path / "out").iterdir())) < 2 * 60
    assert not list((tmp_path / "out").glob(".*"))


def test_files_that_cannot_be_written_end_it(detector: rc.TrainedDetector, paths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(detect(detector, paths, tmp_path / "missing", 3))


def test_maps_without_rasterio_give_json_and_one_line(
    detector: rc.TrainedDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = [write_map(tmp_path / f"{i}.tif", *MAPS["UTM"]) for i in range(3)]
    for installed in (True, False):
        if not installed:
            monkeypatch.setitem(sys.modules, "rasterio", None)
        output, notes = tmp_path / str(installed), Notes("images")
        output.mkdir()
        assert len(list(detect(detector, maps, output, 3, notes))) == 3
        assert len(list(output.glob("*.json"))) == len(list(output.glob("*.jpg"))) == 3
        assert len(list(output.glob("*.geojson"))) == 3 * installed
        line = f"images: 3 without GeoJSON: {NO_RASTERIO} (first in 0.tif)"
        assert notes.lines() == (() if installed else (line,))


def test_what_was_found_before_it_is_closed_is_kept(
    detector: rc.TrainedDetector, paths: list[Path], tmp_path: Path
) -> None:
    """In the order of the images, and under another name than what is complete."""
    (tmp_path / "whole").mkdir()
    settings = ResultSettings(("csv",), True)
    assert len(list(detect(detector, paths, tmp_path / "whole", 3, settings=settings))) == len(paths)
    outcomes = detect(detector, paths, tmp_path, 3, settings=settings)
    found = [next(outcomes) for _ in range(2)]
    outcomes.close()
    (table,) = tmp_path.glob("detections*")
    assert table.name == "detections.partial.csv"
    rows = table.read_text().splitlines()
    assert len(rows) == 1 + sum(count.total() for count in found)
    assert (tmp_path / "whole" / "detections.csv").read_text().splitlines()[: len(rows)] == rows
