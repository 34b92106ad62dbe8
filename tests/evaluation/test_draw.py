"""Drawn detections: nothing crashes and nothing is hidden."""

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops

from remoteclip_jax.data.classes import DIOR_CLASSES
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.evaluation import draw as draw_module
from remoteclip_jax.evaluation.draw import COLOURS, colour, contact_sheet, draw, side_by_side


def found(boxes: object, labels: object = None, scores: object = None) -> Detections:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    n = len(corners)
    labels = np.zeros(n, np.int32) if labels is None else np.array(labels, np.int32)
    return Detections(
        corners, np.full(n, 0.9, np.float32) if scores is None else np.array(scores, np.float32), labels, DIOR_CLASSES
    )


def background(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size, (70, 80, 60))


def changed(before: Image.Image, after: Image.Image) -> np.ndarray:
    return np.asarray(ImageChops.difference(before, after)).any(-1)


EDGES = [
    [-50, -20, 30, 40],
    [500, 300, 900, 700],
    [0, 0, 600, 400],
    [-9, -9, -1, -1],
    [700, 10, 800, 20],
    [5, 5, 5, 5],
    [np.nan, 0, 9, 9],
    [30, 30, 10, 10],
    [0, 0, np.inf, 9],
]


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (600, 400), (5000, 3000)])
@pytest.mark.parametrize("boxes", [[], EDGES, [[0, 0, 1, 1]], [[100, 100, 4800, 2900], [4990, 2990, 5000, 3000]]])
def test_nothing_crashes(size: tuple[int, int], boxes: object) -> None:
    image = background(size)
    picture = draw(image, found(boxes))
    assert picture.mode == "RGB"
    assert max(picture.size) == min(max(size), 1600)
    assert picture.size[0] / picture.size[1] == pytest.approx(size[0] / size[1], rel=0.01)
    assert not changed(image, background(size)).any()  # the given image stays as it was
    assert side_by_side(image, found([]), found(boxes), "A title").size[0] >= 2 * min(size[0], 800)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_other_modes(mode: str) -> None:
    assert draw(background((60, 40)).convert(mode), found([[5, 5, 20, 20]])).mode == "RGB"


def test_pixels_change_near_the_boxes_alone() -> None:
    image = background((600, 400))
    box = (200, 150, 260, 200)
    change = changed(image, draw(image, found([box])))
    rows, columns = np.nonzero(change)
    assert 130 <= rows.min() < 150
    assert 200 <= rows.max() < 203
    assert 197 <= columns.min() < 200
    assert 260 <= columns.max() < 330
    assert not change[150:200, 200:260].any()  # the object itself is whole
    assert not changed(image, draw(image, found([]))).any()


def test_boxes_follow_a_large_image() -> None:
    image = background((5000, 3000))
    picture = draw(image, found([[2500, 1500, 3500, 2000]]))
    pixels = (np.asarray(picture) == colour(0)).all(-1)
    columns = np.nonzero(pixels[560])[0]  # of 960 rows; the box spans 480 to 640, and 800 to 1120 of 1600 columns
    assert {800, 1120} <= {x + d for x in columns for d in range(-1, 6)}
    assert pixels[560].sum() <= 12


def test_a_crowd_stays_whole() -> None:
    """Sixty tiny airplanes and one airport around them: every airplane's pixels are what they were."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(10), np.arange(6)), -1).reshape(-1, 2) * [38, 36] + [110, 150]
    boxes = np.concatenate([grid, grid + rng.integers(10, 20, grid.shape)], 1).tolist()
    image = background((600, 600))
    picture = draw(image, found([[60, 60, 560, 500], *boxes], [1] + [0] * 60, [0.99] + [0.9] * 60))
    change = changed(image, picture)
    covered = [change[y1:y2, x1:x2].mean() for x1, y1, x2, y2 in boxes]
    assert max(covered) <= 0.1
    assert change.mean() < 0.05


def test_colours() -> None:
    assert len(set(COLOURS)) == 20
    assert colour(3) == colour(23)
    image = background((200, 200))
    picture = np.asarray(draw(image, found([[20, 40, 60, 90], [120, 40, 180, 90]], [4, 7])))
    for label in (4, 7):
        assert (picture == colour(label)).all(-1).any()
    first, second = (np.array(COLOURS, int)[:, None], np.array(COLOURS, int)[None])
    distance = np.abs(first - second).sum(-1) + 1000 * np.eye(20, dtype=int)
    assert distance.min() > 40


def test_pictures_together() -> None:
    image = background((300, 200))
    truth, detected = found([[20, 40, 60, 90]]), found([[22, 40, 60, 90]] * 3, [0, 5, 19])
    page = side_by_side(image, truth, detected, "DIOR_00001.jpg")
    plain = side_by_side(image, truth, detected)
    assert page.height > plain.height > 200
    sheet = contact_sheet([page, plain, image], columns=2)
    assert sheet.width >= 2 * page.width
    assert sheet.height >= page.height + image.height
    assert contact_sheet([image]).width >= 300


def test_thousands_of_boxes_take_little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A place for a label is sought for the best of them only."""
    looked_at = 0
    covered = draw_module._covered

    def counting(*arguments: Any) -> Any:
        nonlocal looked_at
        looked_at += 1
        return covered(*arguments)

    monkeypatch.setattr(draw_module, "_covered", counting)
    corners = np.stack(np.meshgrid(np.arange(0, 640, 8), np.arange(0, 640, 8)), -1).reshape(-1, 2)
    boxes = np.concatenate([corners, corners + 6], 1).astype(np.float32)
    picture = draw(Image.new("RGB", (640, 640)), found(boxes))
    assert looked_at <= 2 * 7 * draw_module.MOST_TRIED
    assert np.asarray(picture).any(-1)[-9:, -9:].any()  # all are drawn
