"""Which images are shown: they are ranked by F1, where ignored objects are neither found nor missed."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from remoteclip_jax.data.classes import DIOR_CLASSES
from remoteclip_jax.data.types import Annotations, Dataset, Example
from remoteclip_jax.detector.detections import Detections, true_objects
from remoteclip_jax.evaluation.pictures import GREY, frame_ignored, image_quality, save_picture


def found(boxes: object, labels: object = None) -> Detections:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    numbers = np.zeros(len(corners), np.int32) if labels is None else np.array(labels, np.int32)
    return Detections(corners, np.full(len(corners), 0.9, np.float32), numbers, DIOR_CLASSES)


def example(boxes: object, labels: object) -> Example:
    """Boxes as corners in an image of 100 × 100 pixels."""
    corners = np.array(boxes, np.float32).reshape(-1, 4) / 100
    centred = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)
    return Example(Path("i.jpg"), 100, 100, centred, np.array(labels, np.int32))


def test_image_quality() -> None:
    boxes, labels = [[0, 0, 20, 20], [40, 40, 80, 80]], [0, 1]
    scene = example(boxes, labels)
    assert image_quality(scene, true_objects(scene, DIOR_CLASSES), 0.5) == 1
    assert image_quality(scene, found([]), 0.5) == 0
    assert image_quality(example([], []), found([]), 0.5) == 1
    assert image_quality(example([], []), found(boxes), 0.5) == 0
    assert image_quality(example([], []), found(boxes), 0.95) == 1  # below the threshold, it is not there
    assert image_quality(scene, found(boxes, [1, 0]), 0.5) == 0
    assert image_quality(scene, found(boxes[:1]), 0.5) == pytest.approx(2 / 3)
    assert image_quality(scene, found([*boxes, boxes[0]], [0, 1, 0]), 0.5) == pytest.approx(4 / 5)  # found twice
    assert image_quality(scene, found([[np.nan] * 4, [5, 5, 5, 5]]), 0.5) == 0
    shifted = [[10, 0, 30, 20], [60, 40, 100, 80]]  # by half their width: an IoU of a third
    assert image_quality(scene, found(shifted, labels), 0.5) == 0


def test_what_is_ignored_is_neither_missed_nor_a_false_alarm() -> None:
    boxes = [[0, 0, 20, 20], [40, 40, 80, 80]]
    scene, ignored = example(boxes[:1], [0]), example(boxes[1:], [0])
    scene = dataclasses.replace(scene, ignored=ignored.boxes, ignored_labels=ignored.labels)
    assert image_quality(scene, found(boxes[:1]), 0.5) == 1
    assert image_quality(scene, found([*boxes, boxes[1]]), 0.5) == 1
    assert image_quality(scene, found(boxes, [0, 1]), 0.5) == pytest.approx(2 / 3)  # another class
    assert image_quality(scene, found([boxes[0], [45, 45, 55, 55]]), 0.5) == pytest.approx(2 / 3)  # too small
    assert len(true_objects(scene, DIOR_CLASSES)) == 1
    crowd = dataclasses.replace(scene, annotations=annotated_crowd())
    assert image_quality(crowd, found([boxes[0], [45, 45, 55, 55]]), 0.5) == 1  # inside it


def annotated_crowd() -> Annotations:
    boxes = np.array([[0, 0, 20, 20], [40, 40, 40, 40]], np.float64)
    return Annotations(
        1, 100, 100, boxes, boxes[:, 2:].prod(1), np.zeros(2, np.int32), np.array([False, True]), np.zeros(2, bool)
    )


def test_what_is_ignored_has_a_grey_frame(tmp_path: Path) -> None:
    image = Image.new("RGB", (100, 100), (70, 80, 60))
    scene = example([[0, 0, 20, 20]], [0])
    assert frame_ignored(image, scene) is image
    with_ignored = dataclasses.replace(
        scene, ignored=example([[40, 40, 80, 80]], [0]).boxes, ignored_labels=scene.labels
    )
    framed = np.asarray(frame_ignored(image, with_ignored))
    rows, columns = np.nonzero((framed == GREY).all(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (40, 79, 40, 79)
    assert len(rows) == 4 * 39
    image.save(tmp_path / "i.png")
    dataset = Dataset("val", DIOR_CLASSES, (dataclasses.replace(with_ignored, image=tmp_path / "i.png"),))
    save_picture(tmp_path / "picture.jpg", dataset, [found([[0, 0, 20, 20]])], 0)
    assert (tmp_path / "picture.jpg").exists()
