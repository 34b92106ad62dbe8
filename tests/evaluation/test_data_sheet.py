"""The contact sheet shows all classes, and objects large enough to be seen."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.evaluation.data_sheet import (
    CELL,
    MAX_PICTURES,
    PICTURES,
    Choice,
    chosen_images,
    data_sheet,
    example_in,
    shown_part,
)
from tests.data.sample_datasets import write_image


def example(name: str, *objects: tuple[int, float, float, float, float], size: tuple[int, int] = (400, 300)) -> Example:
    """Objects are (label, x1, y1, x2, y2) in pixels."""
    corners = np.array([o[1:] for o in objects], np.float64).reshape(-1, 4)
    boxes = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], -1) / (size * 2)
    return Example(Path(name), *size, boxes.astype(np.float32), np.array([o[0] for o in objects], np.int32))


def dataset(*examples: Example, split: str = "train", classes: int = 3) -> Dataset:
    return Dataset(split, tuple(f"class {i}" for i in range(classes)), examples)


@pytest.mark.parametrize(("classes", "count"), [(3, PICTURES), (40, 40), (200, MAX_PICTURES)])
def test_all_classes_are_shown(classes: int, count: int) -> None:
    """Though most images have the first class alone."""
    common = [example(f"{i}.jpg", (0, 10, 10, 90, 90)) for i in range(400)]
    rare = [example(f"rare-{i}.jpg", (i, 10, 10, 90, 90)) for i in range(1, classes)]
    data = [dataset(*common, *rare, classes=classes), dataset(*common[:5], split="val", classes=classes)]
    chosen = chosen_images(data)
    assert len(chosen) == count
    assert len({label for choice in chosen for label in choice.example.labels.tolist()}) == min(classes, MAX_PICTURES)
    assert [choice.example.image for choice in chosen] == [choice.example.image for choice in chosen_images(data)]


def test_small_objects_of_a_large_image_are_shown_in_part() -> None:
    crowd = [(0, x, 3000, x + 12, 3012) for x in range(2000, 2400, 40)]
    large = example("a.png", (0, 50, 50, 62, 62), *crowd, (1, 3900, 10, 3912, 22), size=(4000, 4000))
    data = dataset(large)
    left, top, right, bottom = shown_part(Choice(data, large, 0))
    assert (right - left, bottom - top) == (CELL, CELL)
    part = example_in(large, (left, top, right, bottom), (CELL, CELL))
    assert len(part.labels) == len(crowd)
    np.testing.assert_allclose(part.boxes[0, 2:] * CELL, 12, atol=1e-2)
    np.testing.assert_allclose(part.boxes[0, :2] * CELL, [2006 - left, 3006 - top], atol=1e-2)
    assert [choice.label for choice in chosen_images([data])] == [0, 1]  # another part for the other class
    near = example("b.png", (0, 50, 50, 3000, 3000), size=(4000, 4000))
    assert shown_part(Choice(data, near, 0)) == (0, 0, 4000, 4000)
    assert shown_part(Choice(data, example("c.png", size=(4000, 4000)))) == (0, 0, 4000, 4000)


def test_the_sheet(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, size=(400, 300))
    (tmp_path / "broken.png").write_bytes(b"x" * 100)
    examples = (
        example(str(tmp_path / "a.png"), (0, 100, 100, 200, 200)),
        example(str(tmp_path / "b.png"), (1, 100, 100, 200, 200)),
        example(str(tmp_path / ("broken.png"))),
    )
    sheet = data_sheet("a title " * 100, [dataset(*examples)])
    assert isinstance(sheet, Image.Image)
    colours = {tuple(pixel) for pixel in np.asarray(sheet).reshape(-1, 3).tolist()}
    assert {(255, 45, 35), (0, 229, 255)} <= colours
    assert sheet.width == 3 * (CELL + 12) + 12
