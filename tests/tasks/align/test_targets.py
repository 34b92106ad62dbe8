"""The label of an image with several objects, for `align`."""

from pathlib import Path

import numpy as np
import pytest

from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.tasks.align.targets import target_distribution, without_empty_images

LABELS = np.array([2, 0, 2, 4], np.int32)
BOXES = np.array([[0.5, 0.5, w, 0.1] for w in (0.1, 0.3, 0.1, 0.2)], np.float32)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("first", [0, 0, 1, 0, 0]), ("largest", [1, 0, 0, 0, 0]), ("multi", [1 / 3, 0, 1 / 3, 0, 1 / 3])],
)
def test_rules(rule: str, expected: list[float]) -> None:
    result = target_distribution(LABELS, BOXES, 5, rule)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    assert target_distribution(LABELS[:1], BOXES[:1], 5, rule).tolist() == [0, 0, 1, 0, 0]


def test_of_equally_large_objects_the_first_counts() -> None:
    assert target_distribution(LABELS[[3, 2, 1]], BOXES[[0, 2, 0]], 5, "largest").tolist() == [0, 0, 0, 0, 1]


def test_what_has_no_target() -> None:
    with pytest.raises(ValueError, match="without objects"):
        target_distribution(LABELS[:0], BOXES[:0], 5, "multi")
    with pytest.raises(ValueError, match="unknown rule 'loudest'"):
        target_distribution(LABELS, BOXES, 5, "loudest")


def test_images_without_objects_are_dropped_and_counted() -> None:
    examples = tuple(Example(Path(f"{n}.jpg"), 8, 8, BOXES[:n], LABELS[:n]) for n in (2, 0, 1, 0))
    dataset, dropped = without_empty_images(Dataset("train", tuple("abcde"), examples, notes=("a note",)))
    assert dropped == 2
    assert [example.image.name for example in dataset.examples] == ["2.jpg", "1.jpg"]
    assert dataset.notes == ("a note",)
    assert without_empty_images(dataset)[1] == 0
