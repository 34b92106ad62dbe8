"""Accuracy by class and the confusion matrix: their sums agree with top-1, and the picture can be read."""

import io

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from remoteclip_jax.evaluation.classification import class_figures, class_lines, classification_sums, means
from remoteclip_jax.evaluation.confusion import MOST, confusion_figure

NAMES = ("ship", "harbor", "dam", "bridge")


def test_the_matrix_agrees_with_the_sums() -> None:
    rng = np.random.default_rng(0)
    labels, valid = rng.integers(0, 3, 60), np.arange(60) < 57  # no image of the last class
    logits, target = rng.normal(size=(60, 4)).astype(np.float32), np.eye(4, dtype=np.float32)[labels]
    sums = classification_sums(jnp.asarray(logits), jnp.asarray(target), jnp.asarray(target > 0), jnp.asarray(valid))
    confusion = np.asarray(sums["confusion"])
    expected = np.zeros((4, 4))
    np.add.at(expected, (labels[valid], logits.argmax(-1)[valid]), 1)
    np.testing.assert_array_equal(confusion, expected)
    figures = class_figures(confusion, NAMES)
    assert np.trace(confusion) / 57 == pytest.approx(means(sums)["top1"])
    assert figures["per_class"]["bridge"] == {"accuracy": None, "n": 0}
    known = [figures["per_class"][name] for name in NAMES[:3]]
    assert sum(v["n"] * v["accuracy"] for v in known) == pytest.approx(np.trace(confusion))
    assert figures["mean_per_class_accuracy"] == pytest.approx(np.mean([v["accuracy"] for v in known]))
    assert figures["confusion"] == expected.astype(int).tolist()


def test_images_with_several_classes_belong_to_none() -> None:
    classes = jnp.array([[True, True, False], [False, True, False]])
    target = classes / classes.sum(-1, keepdims=True)
    sums = classification_sums(jnp.eye(3)[jnp.array([0, 2])], target, classes, jnp.ones(2, bool))
    assert sums["top1"] == 1
    np.testing.assert_array_equal(sums["confusion"], [[0, 0, 0], [0, 0, 1], [0, 0, 0]])


def test_the_worst_are_named_with_what_they_were_taken_for() -> None:
    confusion = np.array([[9, 1, 0, 0], [0, 5, 5, 0], [0, 0, 8, 0], [0, 0, 0, 0]])
    mean, worst = class_lines(class_figures(confusion, NAMES))
    assert mean == "mean per-class accuracy 80.00 % (3 classes)"
    assert worst == "worst: harbor 50.0 % of 10 (5 taken for dam), ship 90.0 % of 10 (1 taken for harbor)"
    assert class_lines(class_figures(0 * confusion, NAMES)) == []
    assert len(class_lines(class_figures(np.eye(4), NAMES))) == 1


@pytest.mark.parametrize("count", [1, 20, 45, MOST + 30])
def test_the_picture(count: int) -> None:
    """As wide as the report's page as long as names fit, so that nothing is scaled down; and never huge."""
    names = [f"${'x' * 50}_{i}" if i % 2 else f"class {i}" for i in range(count)]
    picture = Image.open(io.BytesIO(confusion_figure(np.eye(count, dtype=int), names)))
    assert picture.width == 888 if count <= 45 else 888 < picture.width < 2000
    assert np.asarray(picture.convert("L")).min() < 50
