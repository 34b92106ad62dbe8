"""Many image files at a time: what is found, in which order, and how many images are in memory."""

import dataclasses
import json
import sys
import threading
import time
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
from remoteclip_jax.results.image_result import ResultSettings
from remoteclip_jax.tasks.detect import image_batches
from remoteclip_jax.tasks.detect.image_batches import default_batch_size, detect_in_files
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


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_batch_finds_what_is_found_in_each_image(
    batch_size: int, detector: rc.TrainedDetector, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the images, whichever is read first; also beside a broken image and in the last, smaller batch.
    One program is compiled."""
    shapes = set()

    def noting(detector: Any, squares: Any, prompts: Any) -> Any:
        shapes.add(tuple(square.shape for square in squares))
        return inference.find_in_squares(detector, squares, prompts)

    def slow_first(detector: Any, image: Image.Image) -> Any:
        time.sleep(0.05 * (image.size == read_image(paths[0]).size))
        return inference.image_squares(detector, image)

    monkeypatch.setattr(image_batches, "find_in_squares", noting)
    monkeypatch.setattr(image_batches, "image_squares", slow_first)
    notes = Notes("images")
    outcomes = list(detect(detector, paths, tmp_path, batch_size, notes))
    assert len(outcomes) == len(paths)
    assert shapes == {((batch_size, 64, 64, 3), (batch_size, 96, 96, 3))}
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


def test_boxes_in_a_batch_differ_by_less_than_a_thousandth_of_a_pixel(
    detector: rc.TrainedDetector, paths: list[Path]
) -> None:
    images = [read_image(path) for i, path in enumerate(paths) if i != BROKEN]
    prompts = inference.encode_prompts(detector, None)
    squares = [inference.image_squares(detector, image) for image in images]
    found = inference.find_in_squares(detector, [np.stack(view) for view in zip(*squares, strict=True)], prompts)
    for i, image in enumerate(images):
        alone = inference.detect_with(detector, image, prompts, 0.0)
        together = image_batches.to_detections(found, i, *image.size, CLASSES)
        np.testing.assert_array_equal(together.labels, alone.labels)
        np.testing.assert_allclose(together.scores, alone.scores, atol=1e-5)
        np.testing.assert_allclose(together.boxes, alone.boxes, atol=1e-3)


def test_few_images_are_in_memory(
    detector: rc.TrainedDetector, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly their results are taken; and where they are large, they are decoded one at a time."""
    lock, read, at_once = threading.Lock(), [], [0]

    def noting(detector: Any, image: Image.Image) -> Any:
        with lock:
            read.append(image)
            at_once.append(at_once[-1] + 1)
        time.sleep(0.002)
        with lock:
            at_once.append(at_once[-1] - 1)
        return inference.image_squares(detector, image)

    monkeypatch.setattr(image_batches, "image_squares", noting)
    monkeypatch.setattr(image_batches, "PIXELS_AT_A_TIME", 1)
    many = [tmp_path / f"{i}.png" for i in range(60)]
    for path in many:
        path.symlink_to(paths[0])
    (tmp_path / "out").mkdir()
    outcomes = detect(detector, many, tmp_path / "out", 3)
    for taken in range(20):
        next(outcomes)
        assert taken < len(read) <= taken + 7 * 3
    assert max(at_once) == 1
    outcomes.close()
    assert len(read) < 60
    assert len(list((tmp_path / "out").iterdir())) < 2 * 60
    assert not list((tmp_path / "out").glob(".*"))  # nothing half written


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


def test_files_that_cannot_be_written_end_it(detector: rc.TrainedDetector, paths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(detect(detector, paths, tmp_path / "missing", 3))


def test_a_single_image_does_not_pay_for_a_batch(detector: rc.TrainedDetector) -> None:
    assert default_batch_size(detector, 1) == 1
    assert default_batch_size(detector, 2) == default_batch_size(detector, 1000) == 2
    assert default_batch_size(dataclasses.replace(detector, views=(64, 4096)), 1000) == 1
