"""Many images of any size: what is found, in which order, and how much is in memory.

Most tests replace the network by one that finds what it cannot miss: it boxes every bright blob in the finest view,
also one that a window's border cuts. So whatever is lost, found twice or misplaced is the fault of windows and merging.
"""

import dataclasses
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

import remoteclip_jax as rc
from remoteclip_jax.data import parts
from remoteclip_jax.data.gdal_parts import has_gdal
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.tiling import window_count
from remoteclip_jax.detector import batches, inference, seeing
from remoteclip_jax.detector.postprocess import BatchDetections
from remoteclip_jax.detector.searching import FoundImage, default_batch_size, find_in_images, number_of_windows
from tests.detector.small_model import SMALL, TINY, random_texts, random_variables

CLASSES = tuple("abcdefgh")
SIDE = 128  # of the windows
LIMIT = 60  # blobs in a window


@pytest.fixture(scope="module")
def detector() -> rc.TrainedDetector:
    texts = random_texts(len(CLASSES))
    return rc.TrainedDetector(TINY, SMALL, random_variables(SMALL), (64, 96), CLASSES, texts, None, "float32", 30)


@pytest.fixture
def blobs(detector: rc.TrainedDetector, monkeypatch: pytest.MonkeyPatch) -> rc.TrainedDetector:
    """A detector of bright blobs; its scores are the share of the box that is bright."""

    def find(detector: Any, squares: Sequence[np.ndarray], prompts: Any) -> BatchDetections:
        n, size = len(squares[-1]), squares[-1].shape[1]
        found = BatchDetections(
            np.zeros((n, LIMIT, 4), np.float32),
            np.zeros((n, LIMIT), np.float32),
            np.zeros((n, LIMIT), np.int32),
            np.zeros((n, LIMIT), bool),
        )
        for i, square in enumerate(squares[-1]):
            bright = (square.min(-1) > 200).astype(np.uint8)
            stats = cv2.connectedComponentsWithStats(bright, connectivity=8)[2][1:]
            for j, (x, y, w, h, area) in enumerate(stats[:LIMIT]):
                found.boxes[i, j] = np.array([x, y, x + w, y + h]) / size
                found.scores[i, j], found.valid[i, j] = 0.5 + 0.4 * area / (w * h), True
        return found

    monkeypatch.setattr(batches, "find_in_squares", find)
    return dataclasses.replace(detector, views=(64, 256), window=SIDE)


def scene(width: int, height: int, boxes: Sequence[Sequence[int]]) -> np.ndarray:
    image = np.full((height, width, 3), 60, np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    return image


def search(detector: rc.TrainedDetector, images: Sequence[Any], **options: Any) -> list[Any]:
    prompts = inference.encode_prompts(detector, None)
    return list(find_in_images(detector, prompts, images, **{"notes": Notes("images"), "batch_size": 3, **options}))


def same_boxes(found: rc.Detections, expected: Sequence[Sequence[int]], atol: float) -> None:
    assert len(found) == len(expected)
    order = np.lexsort(found.boxes.round(-1).T[::-1])
    mine = np.array(sorted(expected, key=lambda box: tuple(np.round(box, -1))))
    np.testing.assert_allclose(found.boxes[order], mine, atol=atol)


def grid(width: int, height: int, size: int, step: int) -> list[tuple[int, int, int, int]]:
    """Objects all over the image, across the borders of its windows."""
    places = ((x, y) for y in range(3, height - size, step) for x in range(5, width - size, step))
    return [(x, y, x + size, y + size) for x, y in places]


def test_every_object_is_found_once(blobs: rc.TrainedDetector, tmp_path: Path) -> None:
    """Wherever it lies: in windows, across their borders and at the image's own."""
    boxes = grid(660, 370, 20, 37)
    boxes = [*boxes, (680, 380, 700, 420), (0, 400, 20, 420)]
    image = scene(700, 420, boxes)
    same_boxes(rc.detect(blobs, image), boxes, 1.5)
    Image.fromarray(image).save(tmp_path / "a.png")
    (found,) = search(blobs, [tmp_path / "a.png"])
    assert found.detections.to_json() == rc.detect(blobs, image).to_json()
    whole = dataclasses.replace(blobs, window=None)
    assert len(rc.detect(whole, image)) == LIMIT  # all that one window can hold; the windows together keep all


def test_what_is_larger_than_a_window_is_found_at_a_coarser_level(blobs: rc.TrainedDetector) -> None:
    boxes = [(50, 60, 350, 300), (500, 20, 530, 40), (20, 500, 1180, 530), (600, 700, 1100, 1150), (40, 700, 130, 760)]
    same_boxes(rc.detect(blobs, scene(1200, 1200, boxes)), boxes, 8.0)


@pytest.mark.parametrize("size", [(1000, 90), (90, 1000), (193, 193), (192, 192), (640, 640)])
def test_images_of_any_shape(size: tuple[int, int], blobs: rc.TrainedDetector) -> None:
    boxes = grid(*size, 16, 43)
    same_boxes(rc.detect(blobs, scene(*size, boxes)), boxes, 3.0)


@pytest.mark.parametrize("gdal", [False, True])
def test_a_file_read_by_parts_gives_what_the_whole_gives(
    gdal: bool, blobs: rc.TrainedDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if gdal and not has_gdal():
        pytest.skip("rasterio is not installed")
    boxes = [*grid(900, 900, 18, 61), (600, 500, 850, 750)]
    image = scene(900, 900, boxes)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image, tile=(64, 64), compression="deflate", photometric="rgb")
    (whole,) = search(blobs, [path], pictures=True)
    monkeypatch.setattr(parts, "WHOLE_PIXELS", 10_000)
    monkeypatch.setattr(parts, "has_gdal", lambda: gdal)
    (found,) = search(blobs, [path], pictures=True)
    assert len(found.detections) == len(whole.detections)
    np.testing.assert_allclose(found.detections.boxes, whole.detections.boxes, atol=4)
    assert found.picture.size == whole.picture.size == (900, 900)
    assert found.damage is None


def test_a_damaged_tile_costs_only_what_lies_in_it(
    blobs: rc.TrainedDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "WHOLE_PIXELS", 10_000)
    boxes = [(x + 20, y + 20, x + 44, y + 44) for x in range(0, 512, 64) for y in range(0, 512, 64)]
    path, good = tmp_path / "a.tif", tmp_path / "good.png"
    tifffile.imwrite(path, scene(512, 512, boxes), tile=(64, 64), compression="deflate", photometric="rgb")
    Image.fromarray(scene(50, 50, [(10, 10, 30, 30)])).save(good)
    with tifffile.TiffFile(path) as tiff:
        place, count = tiff.pages[0].dataoffsets[27], tiff.pages[0].databytecounts[27]  # the fourth of the fourth row
    path.write_bytes(path.read_bytes()[:place] + bytes(count) + path.read_bytes()[place + count :])
    damaged, other = search(blobs, [path, good])
    same_boxes(damaged.detections, [box for box in boxes if box[:2] != (212, 212)], 1.5)
    assert "1 of its 64 blocks cannot be read (first at pixel 192, 192)" in str(damaged.damage)
    assert len(other.detections) == 1
    with pytest.raises(rc.UserError, match="1 of its 64 blocks"):
        rc.detect(blobs, path)


def test_windows_without_data_are_not_looked_at(blobs: rc.TrainedDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    find = batches.find_in_squares
    monkeypatch.setattr(
        batches, "find_in_squares", lambda d, squares, p: looked_at.append(len(squares[0])) or find(d, squares, p)
    )
    image = np.zeros((1024, 1024, 3), np.uint8)
    image[:200, :200] = scene(200, 200, [(30, 30, 60, 60)])
    same_boxes(rc.detect(blobs, image), [(30, 30, 60, 60)], 1.5)
    assert sum(looked_at) < window_count(1024, 1024, SIDE) / 5


def test_small_and_large_images_and_broken_ones_in_order(blobs: rc.TrainedDetector, tmp_path: Path) -> None:
    """Whatever the size of the batches, and on one device or two (see the conftest): the same."""
    paths, counts = [tmp_path / f"{i}.png" for i in range(9)], [0, 3, 1, 2, 0, 4, 1, 1, 2]
    for i, (path, count) in enumerate(zip(paths, counts, strict=True)):
        side = 600 if i in (1, 5) else 100 + i
        boxes = [(10 + 22 * j, 20, 24 + 22 * j, 34) for j in range(count)]
        Image.fromarray(scene(side, side - 30, boxes)).save(path)
    paths[3].write_bytes(b"no image")
    notes = Notes("images")
    for batch_size in (1, 2, 7, 50):
        outcomes = search(blobs, paths, batch_size=batch_size, notes=notes)
        assert [isinstance(outcome, rc.UserError) for outcome in outcomes] == [i == 3 for i in range(9)]
        found = [outcome for outcome in outcomes if isinstance(outcome, FoundImage)]
        assert [image.path for image in found] == paths[:3] + paths[4:]
        assert [len(image.detections) for image in found] == counts[:3] + counts[4:]
    (note,) = notes.lines()
    assert "8 large images searched in overlapping windows of 128 pixels (first in 1.png)" in note


def test_the_scale_on_the_ground(blobs: rc.TrainedDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels of half a metre: with --gsd=1, a window has twice as many of them as a training image."""
    rasterio = pytest.importorskip("rasterio")
    image = scene(600, 600, [(30, 30, 60, 60)])
    path = tmp_path / "a.tif"
    place = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
    with rasterio.open(path, "w", "GTiff", 600, 600, 3, dtype="uint8", crs="EPSG:32633", transform=place) as file:
        file.write(image.transpose(2, 0, 1))
    Image.fromarray(image).save(tmp_path / "b.png")
    sides: list[set[int]] = []
    see = seeing._see
    monkeypatch.setattr(seeing, "_see", lambda s, w, *rest: sides[-1].add(w.side) or see(s, w, *rest))
    for gsd, expected in ((None, {128, 512, 600}), (1.0, {256, 600}), (0.25, {64, 256, 600})):
        sides.append(set())
        (found,) = search(blobs, [path], gsd=gsd)
        assert len(found.detections) == 1
        assert sides[-1] == expected
    (error,) = search(blobs, [tmp_path / "b.png"], gsd=1.0)
    assert "b.png: --gsd=1 needs the size of its pixels on the ground (" in str(error)
    assert "give --window=PIXELS" in str(error)


def test_few_windows_are_in_memory(blobs: rc.TrainedDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly their results are taken; and large images that must be decoded are decoded one at a time."""
    lock, seen, decoding = threading.Lock(), [], [0]
    see, read = seeing._see, parts.OpenImage.read

    def noting(*arguments: Any) -> Any:
        with lock:
            seen.append(arguments[1])
        return see(*arguments)

    def reading(*arguments: Any) -> Any:
        with lock:
            decoding.append(decoding[-1] + 1)
        time.sleep(0.002)
        image = read(*arguments)
        with lock:
            decoding.append(decoding[-1] - 1)
        return image

    monkeypatch.setattr(seeing, "_see", noting)
    monkeypatch.setattr(parts.OpenImage, "read", reading)
    monkeypatch.setattr(seeing, "PIXELS_AT_A_TIME", 1)
    Image.fromarray(scene(150, 90, [(10, 10, 30, 30)])).save(tmp_path / "a.png")
    paths = [tmp_path / f"{i}.png" for i in range(60)]
    for path in paths:
        path.symlink_to(tmp_path / "a.png")
    prompts = inference.encode_prompts(blobs, None)
    found = find_in_images(blobs, prompts, paths, notes=Notes("images"), batch_size=3)
    for taken in range(20):
        next(found)
        assert taken < len(seen) <= taken + 2 * 7 * 3  # on two devices
    assert max(decoding) == 1
    found.close()
    assert len(seen) < 60
    large = scene(2000, 2000, [(10, 10, 30, 30)])
    Image.fromarray(large).save(tmp_path / "large.png")
    seen.clear()
    found = find_in_images(blobs, prompts, [tmp_path / "large.png", paths[0]], notes=Notes("images"), batch_size=3)
    next(found)
    found.close()


def test_large_images_that_must_be_decoded_wait_for_their_turn(
    blobs: rc.TrainedDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time is in memory, and none waits for the room that a later one has taken."""
    monkeypatch.setattr(seeing, "PIXELS_AT_A_TIME", 1)
    paths = [tmp_path / f"{i}.png" for i in range(8)]
    for i, path in enumerate(paths):
        side = 100 if i in (2, 5) else 500
        Image.fromarray(scene(side, side, [(30, 30, 60, 60)])).save(path)
    for batch_size in (1, 5):
        outcomes = search(blobs, paths, batch_size=batch_size)
        assert [len(outcome.detections) for outcome in outcomes] == [1] * 8
        assert [outcome.path for outcome in outcomes] == paths


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_batch_finds_what_is_found_in_each_image(
    batch_size: int, detector: rc.TrainedDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the network itself: one program for all batches, the last one filled up, and the same boxes."""
    shapes = set()

    def noting(detector: Any, squares: Any, prompts: Any) -> Any:
        shapes.add(tuple(square.shape for square in squares))
        return inference.find_in_squares(detector, squares, prompts)

    monkeypatch.setattr(batches, "find_in_squares", noting)
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for i, path in enumerate(paths):
        Image.fromarray(np.kron(rng.integers(0, 256, (5 + i, 9, 3)), np.ones((9, 9, 1))).astype(np.uint8)).save(path)
    windowed = dataclasses.replace(detector, window=50)
    outcomes = search(windowed, paths, batch_size=batch_size)
    assert shapes == {((batch_size, 64, 64, 3), (batch_size, 96, 96, 3))}
    for path, outcome in zip(paths, outcomes, strict=True):
        alone = rc.detect(windowed, read_image(path), score_threshold=0)
        together = outcome.detections
        assert len(together) == len(alone) > 0
        np.testing.assert_array_equal(together.labels, alone.labels)
        np.testing.assert_allclose(together.scores, alone.scores, atol=1e-5)
        np.testing.assert_allclose(together.boxes, alone.boxes, atol=1e-3)


def test_a_single_image_does_not_pay_for_a_batch(detector: rc.TrainedDetector, tmp_path: Path) -> None:
    assert default_batch_size(detector, 1) == 1
    assert default_batch_size(detector, 2) == default_batch_size(detector, 1000) == 2
    assert default_batch_size(dataclasses.replace(detector, views=(64, 4096)), 1000) == 1
    Image.new("RGB", (300, 300)).save(tmp_path / "a.png")
    assert number_of_windows(tmp_path / "a.png", detector) == 1
    assert number_of_windows(tmp_path / "a.png", dataclasses.replace(detector, window=100)) == 17
    assert number_of_windows(tmp_path / "none.png", detector) == 1
