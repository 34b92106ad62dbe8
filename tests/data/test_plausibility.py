"""Boxes written in another way than the format's: refused by what they look like, and real ones pass unremarked."""

from pathlib import Path

import numpy as np
import pytest

from remoteclip_jax.data.formats.voc import parse_voc
from remoteclip_jax.data.plausibility import BOX_CONVENTIONS, check_box_plausibility
from remoteclip_jax.data.types import Annotations, Dataset, Example
from remoteclip_jax.errors import UserError
from tests.shared_data import SHARED, requires_shared

WIDTH, HEIGHT = 640, 480
NATIVE = {"coco": "xywh", "dior": "corners", "yolo": "centre_shares"}


def drawn(count: int = 200, seed: int = 0) -> np.ndarray:
    """Boxes (x, y, width, height) in pixels, anywhere in an image of 640x480."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(4, 80, (count, 2))
    return np.concatenate([rng.uniform(0, 1, (count, 2)) * (np.array([WIDTH, HEIGHT]) - size), size], 1)


def dataset(boxes: np.ndarray, split: str = "train") -> Dataset:
    n = len(boxes)
    nothing, labels = np.zeros(n, bool), np.zeros(n, np.int32)
    annotated = Annotations("a", WIDTH, HEIGHT, boxes, boxes[:, 2] * boxes[:, 3], labels, nothing, nothing)
    example = Example(Path("a.jpg"), WIDTH, HEIGHT, np.zeros((0, 4), np.float32), labels[:0], annotations=annotated)
    return Dataset(split, ("ship",), (example,))


def mistaken(boxes: np.ndarray, dataset_format: str, written: str) -> np.ndarray:
    """What `dataset_format` reads where the boxes are written as `written`."""
    sizes = np.tile([[float(WIDTH), float(HEIGHT)]], (len(boxes), 1))
    numbers = BOX_CONVENTIONS[written].from_pixels(boxes, sizes)
    return BOX_CONVENTIONS[NATIVE[dataset_format]].to_pixels(numbers, sizes)


@pytest.mark.parametrize("reading", list(BOX_CONVENTIONS))
def test_readings_go_there_and_back(reading: str) -> None:
    boxes, sizes = drawn(), np.tile([[float(WIDTH), float(HEIGHT)]], (200, 1))
    there = BOX_CONVENTIONS[reading].from_pixels(boxes, sizes)
    np.testing.assert_allclose(BOX_CONVENTIONS[reading].to_pixels(there, sizes), boxes, atol=1e-9)


@pytest.mark.parametrize("dataset_format", list(NATIVE))
def test_boxes_as_the_format_has_them(dataset_format: str) -> None:
    assert check_box_plausibility(dataset(drawn()), dataset_format, Path("data")) == ()
    assert check_box_plausibility(dataset(drawn(0)), dataset_format, Path("data")) == ()


@pytest.mark.parametrize(
    ("dataset_format", "written", "told"),
    [
        ("coco", "corners", "look like corners in pixels; write them as x, y, width, height in pixels"),
        ("coco", "xywh_shares", "look like .*fractions of the image"),
        ("coco", "corner_shares", "look like corners as fractions"),
        ("coco", "centre_shares", "as fractions of the image"),
        ("dior", "xywh", "look like x, y, width, height in pixels; write them as corners"),
        ("dior", "corner_shares", "look like corners as fractions"),
        ("dior", "centre_shares", "fractions of the image"),
        ("yolo", "corners", "look like corners in pixels; write them as centre and size as fractions"),
        ("yolo", "xywh", "look like x, y, width, height in pixels"),
        ("yolo", "centre", "in pixels"),
        ("yolo", "corner_shares", "look like corners as fractions"),
    ],
)
@pytest.mark.parametrize("count", [20, 500])
def test_boxes_written_otherwise(dataset_format: str, written: str, told: str, count: int) -> None:
    boxes = mistaken(drawn(count), dataset_format, written)
    with pytest.raises(UserError, match=rf"data: of the {count} boxes of the split 'train', \d+ cannot .*{told}"):
        check_box_plausibility(dataset(boxes), dataset_format, Path("data"))


def test_a_few_odd_boxes_are_counted() -> None:
    boxes = drawn()
    boxes[3] = [600, 10, 400, 20]
    boxes[4] = [10, -290, 100, 300]
    boxes[5, 2] = 0.4
    boxes[6] = [600, 400, 60, 100]  # over the border, as tiles cut objects
    boxes[7, 2:] = 0  # without area, as the next one: counted elsewhere
    boxes[8, 0] = 2000
    assert check_box_plausibility(dataset(boxes), "coco", Path("data")) == (
        "train: 2 boxes reach far beyond their images (first in a.jpg)",
        "train: 1 boxes have a side under a pixel (first in a.jpg)",
    )


def test_boxes_that_are_of_no_known_kind() -> None:
    with pytest.raises(UserError, match="20 cannot be meant so: they reach far beyond"):
        check_box_plausibility(dataset(drawn(20) + 5000), "coco", Path("data"))
    assert check_box_plausibility(dataset(drawn(2) + 5000), "coco", Path("data")) == ()  # too few to tell


def real() -> list[tuple[np.ndarray, tuple[int, int]]]:
    parsed = [parse_voc(p) for name in ("gdit_airport", "dior_mini") for p in (SHARED / name).glob("annotations/*.xml")]
    return [(item.boxes.astype(np.float64), item.size or (600, 600)) for item in parsed]


@requires_shared
def test_real_boxes() -> None:
    """As they are, they need no remark."""
    examples = []
    for corners, (width, height) in real():
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
        nothing, labels = np.zeros(len(boxes), bool), np.zeros(len(boxes), np.int32)
        annotated = Annotations("a", width, height, boxes, boxes[:, 2] * boxes[:, 3], labels, nothing, nothing)
        empty = np.zeros((0, 4), np.float32)
        examples.append(Example(Path("a.jpg"), width, height, empty, labels[:0], annotations=annotated))
    data = Dataset("train", ("ship",), tuple(examples))
    assert check_box_plausibility(data, "dior", Path("data")) == ()
