"""Classes held out: no image that shows one is trained on, and labels still name what they named."""

from pathlib import Path

import numpy as np
import pytest

from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.errors import UserError
from remoteclip_jax.tasks.detect.novel import without_classes, without_images_of


def dataset(*labels: list[int]) -> Dataset:
    boxes = np.full((1, 4), 0.5, np.float32)
    examples = [
        Example(Path(f"{i}.jpg"), 10, 10, boxes.repeat(len(one), 0), np.array(one, np.int32))
        for i, one in enumerate(labels)
    ]
    return Dataset("train", ("ship", "wind mill", "dam", "car"), tuple(examples))


def test_images_that_show_a_novel_class_are_left_out() -> None:
    kept = without_images_of(dataset([0, 1], [3], [2], []), ["WindMill"])
    assert [example.image.name for example in kept.examples] == ["1.jpg", "2.jpg", "3.jpg"]
    assert kept.classes == ("ship", "wind mill", "dam", "car")
    assert kept.notes == ("train: 1 of 4 images left out, which show novel classes",)


def test_labels_follow_the_classes_that_are_left() -> None:
    base = without_classes(dataset([0, 3], [2], []), ["windmill"])
    assert base.classes == ("ship", "dam", "car")
    assert [example.labels.tolist() for example in base.examples] == [[0, 2], [1], []]


def test_what_cannot_be_held_out() -> None:
    with pytest.raises(UserError, match="--novel: unknown class 'shop'; the nearest known class is 'ship'"):
        without_images_of(dataset([0]), ["shop"])
    with pytest.raises(UserError, match="every image of the split 'train' shows one of ship"):
        without_images_of(dataset([0], [0, 1]), ["ship"])
    with pytest.raises(UserError, match="none is left to learn"):
        without_classes(dataset([]), ["ship", "windmill", "dam", "car"])
