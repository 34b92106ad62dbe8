"""Boxes in another convention than the format's are refused, with a guess of the convention; real_boxes boxes pass."""

from pathlib import Path

import numpy as np
import pytest

from remoteclip_jax.data.formats.voc import parse_voc
from remoteclip_jax.data.plausibility import BOX_CONVENTIONS, check_box_plausibility
from remoteclip_jax.data.types import Annotations, Dataset, Example
from remoteclip_jax.errors import UserError
from tests.shared_data import SHARED, requires_shared

WIDTH, HEIGHT = 640, 480
NATIVE = {"coco": "xywh", "dior": "corners", "yolo": "centre_fractions", "dota": "corners"}


def random_boxes(count: int = 200, seed: int = 0) -> np.ndarray:
    """Boxes (x, y, width, height) in pixels, anywhere in an image of 640x480."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(4, 80, (count, 2))
    return np.concatenate([rng.uniform(0, 1, (count, 2)) * (np.array([WIDTH, HEIGHT]) - size), size], 1)


def dataset(boxes: np.ndarray, split: str = "train") -> Dataset:
    n = len(boxes)
    nothing, labels = np.zeros(n, bool), np.zeros(n, np.int32)
    annotations = Annotations("a", WIDTH, HEIGHT, boxes, boxes[:, 2] * boxes[:, 3], labels, nothing, nothing)
    example = Example(Path("a.jpg"), WIDTH, HEIGHT, np.zeros((0, 4), np.float32), labels[:0], annotations=annotations)
    return Dataset(split, ("ship",), (example,))


def misread(boxes: np.ndarray, dataset_format: str, written: str) -> np.ndarray:
    """The boxes as `dataset_format` reads them, if they were written in the convention `written`."""
    sizes = np.tile([[float(WIDTH), float(HEIGHT)]], (len(boxes), 1))
    numbers = BOX_CONVENTIONS[written].from_pixels(boxes, sizes)
    return BOX_CONVENTIONS[NATIVE[dataset_format]].to_pixels(numbers, sizes)


@pytest.mark.parametrize("convention", list(BOX_CONVENTIONS))
def test_conventions_are_invertible(convention: str) -> None:
    boxes, sizes = random_boxes(), np.tile([[float(WIDTH), float(HEIGHT)]], (200, 1))
    there = BOX_CONVENTIONS[convention].from_pixels(boxes, sizes)
    np.testing.assert_allclose(BOX_CONVENTIONS[convention].to_pixels(there, sizes), boxes, atol=1e-9)


@pytest.mark.parametrize("dataset_format", list(NATIVE))
def test_boxes_in_the_convention_of_the_format(dataset_format: str) -> None:
    assert check_box_plausibility(dataset(random_boxes()), dataset_format, Path("data")) == ()
    assert check_box_plausibility(dataset(random_boxes(0)), dataset_format, Path("data")) == ()


@pytest.mark.parametrize(
    ("dataset_format", "written", "message"),
    [
        ("coco", "corners", "look like corners in pixels; write them as x, y, width, height in pixels"),
        ("coco", "xywh_fractions", "look like .*fractions of the image"),
        ("coco", "corner_fractions", "look like corners as fractions"),
        ("coco", "centre_fractions", "as fractions of the image"),
        ("dior", "xywh", "look like x, y, width, height in pixels; write them as corners"),
        ("dior", "corner_fractions", "look like corners as fractions"),
        ("dior", "centre_fractions", "fractions of the image"),
        ("yolo", "corners", "look like corners in pixels; write them as centre and size as fractions"),
        ("yolo", "xywh", "look like x, y, width, height in pixels"),
        ("yolo", "centre", "in pixels"),
        ("yolo", "corner_fractions", "look like corners as fractions"),
    ],
)
@pytest.mark.parametrize("count", [20, 500])
def test_boxes_in_another_convention(dataset_format: str, written: str, message: str, count: int) -> None:
    boxes = misread(random_boxes(count), dataset_format, written)
    with pytest.raises(
        UserError, match=rf"data: of the {count} boxes of the split 'train', \d+ are implausible .*{message}"
    ):
        check_box_plausibility(dataset(boxes), dataset_format, Path("data"))


def test_a_few_odd_boxes_are_counted() -> None:
    boxes = random_boxes()
    boxes[3] = [600, 10, 400, 20]
    boxes[4] = [10, -290, 100, 300]
    boxes[5, 2] = 0.4
    boxes[6] = [600, 400, 60, 100]  # crosses the border, as in tiles that cut objects
    boxes[7, 2:] = 0  # without area, like the next one: counted elsewhere
    boxes[8, 0] = 2000
    assert check_box_plausibility(dataset(boxes), "coco", Path("data")) == (
        "train: 2 boxes reach far beyond their images (first in a.jpg)",
        "train: 1 boxes have a side under a pixel (first in a.jpg)",
    )


def test_boxes_in_no_known_convention() -> None:
    with pytest.raises(UserError, match="20 are implausible: they reach far beyond"):
        check_box_plausibility(dataset(random_boxes(20) + 5000), "coco", Path("data"))
    assert check_box_plausibility(dataset(random_boxes(2) + 5000), "coco", Path("data")) == ()  # too few to decide


def real_boxes() -> list[tuple[np.ndarray, tuple[int, int]]]:
    parsed = [parse_voc(p) for name in ("gdit_airport", "dior_mini") for p in (SHARED / name).glob("annotations/*.xml")]
    return [(item.boxes.astype(np.float64), item.size or (600, 600)) for item in parsed]


@requires_shared
def test_real_boxes() -> None:
    """Real boxes cause no note."""
    examples = []
    for corners, (width, height) in real_boxes():
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
        nothing, labels = np.zeros(len(boxes), bool), np.zeros(len(boxes), np.int32)
        annotations = Annotations("a", width, height, boxes, boxes[:, 2] * boxes[:, 3], labels, nothing, nothing)
        empty = np.zeros((0, 4), np.float32)
        examples.append(Example(Path("a.jpg"), width, height, empty, labels[:0], annotations=annotations))
    data = Dataset("train", ("ship",), tuple(examples))
    assert check_box_plausibility(data, "dior", Path("data")) == ()
