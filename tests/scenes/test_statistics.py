"""Synthetic scenes: sizes, counts and classes follow real annotations, and colour does not reveal the class."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from defusedxml import ElementTree
from scipy.optimize import minimize

from remoteclip_jax.data.classes import DIOR_CLASSES
from remoteclip_jax.scenes.images import generate_scene, pixel_boxes
from remoteclip_jax.scenes.recipes import image_recipe

ROOT = Path(__file__).parents[2]
REAL = ROOT / "../shared/data/dior_mini"
DEFAULT = (("train", 70), ("val", 15), ("test", 15))

QUANTILES = (5, 10, 25, 50, 75, 90, 95)
# Of DIOR's mini_dataset, 602 boxes, relative to the image's side: sqrt(w·h); w and h pooled; the longer side.
SIZES = (0.0135, 0.0159, 0.0230, 0.0392, 0.1063, 0.2550, 0.4368)
SIDES = (0.0125, 0.0150, 0.0213, 0.0438, 0.1128, 0.2775, 0.4559)
LONGER = (0.0175, 0.0213, 0.0325, 0.0513, 0.1340, 0.3320, 0.5620)
COUNTS = (1, 1, 1, 3, 7, 10.1, 15.1)
MEAN_COUNT = 6.02


def statistics(boxes: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Quantiles from the relative boxes xyxy of each image."""
    wh = np.concatenate([b[:, 2:] - b[:, :2] for b in boxes])
    values = {"sizes": np.sqrt(wh.prod(1)), "sides": wh.ravel(), "longer": wh.max(1), "counts": [len(b) for b in boxes]}
    return {k: np.percentile(v, QUANTILES) for k, v in values.items()}


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real annotations are not at {REAL}")
def test_reference_statistics_are_those_of_the_real_annotations() -> None:
    boxes = []
    for path in sorted((REAL / "annotations").glob("*.xml")):
        root = ElementTree.parse(path).getroot()
        corners = [[int(b.findtext(k, "")) for k in ("xmin", "ymin", "xmax", "ymax")] for b in root.iter("bndbox")]
        boxes.append(np.array(corners) / 800)
    found = statistics(boxes)
    for name, expected in (("sizes", SIZES), ("sides", SIDES), ("longer", LONGER), ("counts", COUNTS)):
        np.testing.assert_allclose(found[name], expected, rtol=0.01, err_msg=name)
    assert sum(map(len, boxes)) == 602


@pytest.mark.parametrize(
    ("seed", "splits"), [(0, DEFAULT), (1, DEFAULT), (2, DEFAULT), (7, DEFAULT), (3, (("train", 300),))]
)
def test_sizes_and_counts_follow_the_real_annotations(seed: int, splits: tuple[tuple[str, int], ...]) -> None:
    images = [(split, *pixel_boxes(generate_scene(seed, split, i), 800)) for split, n in splits for i in range(n)]
    boxes = [b / 800 for _, b, _ in images]
    found = statistics(boxes)
    for name, expected in (("sizes", SIZES), ("sides", SIDES), ("longer", LONGER), ("counts", COUNTS)):
        np.testing.assert_allclose(found[name], expected, rtol=0.2, err_msg=name)
    counts = [len(b) for b in boxes]
    assert min(counts) >= 1
    assert 45 <= max(counts) <= 130
    assert abs(np.mean(counts) / MEAN_COUNT - 1) < 0.2
    class_counts = Counter(n for _, _, names in images for n in names)
    assert set(class_counts) == set(DIOR_CLASSES)
    assert {n for split, _, names in images if split == "train" for n in names} == set(DIOR_CLASSES)
    assert max(class_counts.values()) / sum(class_counts.values()) < 0.22  # no class dominates


def test_every_class_is_the_main_one_equally_often() -> None:
    mains = Counter(image_recipe(5, split, i).main_class for split, n in DEFAULT for i in range(n))
    assert mains == dict.fromkeys(DIOR_CLASSES, 5)
    assert {image_recipe(5, "train", i).main_class for i in range(20)} == set(DIOR_CLASSES)


def softmax_regression(x: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
    """Weights [features + 1, classes] of a multinomial logistic regression with weak regularization."""
    x, target = np.c_[x, np.ones(len(x))], np.eye(classes)[y]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(-1, classes)
        z = x @ w
        z -= z.max(1, keepdims=True)
        p = np.exp(z)
        p /= p.sum(1, keepdims=True)
        value = -np.log(p[np.arange(len(y)), y]).mean() + 5e-4 * (w[:-1] ** 2).sum()
        return value, (x.T @ (p - target) / len(y) + 1e-3 * np.r_[w[:-1], np.zeros((1, classes))]).ravel()

    start = np.zeros((x.shape[1]) * classes)
    return minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x.reshape(-1, classes)


@pytest.mark.parametrize("seed", [0, 1])
def test_colour_does_not_reveal_the_class(seed: int) -> None:
    colours, labels, image_ids = [], [], []
    for i, (split, index) in enumerate((s, k) for s, n in DEFAULT for k in range(n)):
        scene = generate_scene(seed, split, index)
        rendered = scene.render(200)
        for (x1, y1, x2, y2), name in zip(*pixel_boxes(scene, 200), strict=True):
            colours.append(rendered[int(y1) : int(y2), int(x1) : int(x2)].reshape(-1, 3).mean(0))
            labels.append(DIOR_CLASSES.index(name))
            image_ids.append(i)
    x, y, image_of_box = np.array(colours), np.array(labels), np.array(image_ids)
    x = (x - x.mean(0)) / x.std(0)
    shuffled = np.random.default_rng(0).permutation(len(y)) % 5
    # Folds by box, where boxes of one image are on both sides and share its lighting; by image; and the first 70 images
    # against the rest.
    for fold in (shuffled, image_of_box % 5, np.where(image_of_box < 70, 1, 0)):
        correct = np.zeros(len(y), bool)
        test_folds = [k for k in np.unique(fold) if fold.max() > 1 or k == 0]
        for k in test_folds:
            w = softmax_regression(x[fold != k], y[fold != k], 20)
            correct[fold == k] = (np.c_[x, np.ones(len(x))] @ w).argmax(1)[fold == k] == y[fold == k]
        tested = np.isin(fold, test_folds)
        assert correct[tested].mean() < 0.25
        assert (
            np.mean([correct[tested & (y == c)].mean() for c in np.unique(y[tested])]) < 0.15
        )  # balanced over classes
