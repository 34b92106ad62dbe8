"""Augmentation: boxes follow the pixels, and invertible changes are undone by their inverses."""

import numpy as np
import pytest

from remoteclip_jax.data import transforms
from remoteclip_jax.data.transforms import (
    CROP_AREA,
    WHOLE_IMAGE,
    Window,
    augment,
    crop,
    crop_boxes,
    flip_boxes,
    jitter_colours,
    random_window,
    random_window_with_object,
    required_shorter_side,
    rotate_boxes,
)


def augmented(image: np.ndarray, boxes: np.ndarray, labels: list[int], size: int, rng: np.random.Generator) -> tuple:
    """Augmented as in the pipeline: a window is chosen first."""
    window = random_window_with_object(boxes, image.shape[1], image.shape[0], rng)
    return augment(image, boxes, np.array(labels, np.int32), window, size, rng)


def random_boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    size = rng.uniform(0.05, 0.4, (n, 2))
    return np.concatenate([rng.uniform(size / 2, 1 - size / 2), size], -1).astype(np.float32)


def image_with_rectangle(width: int, height: int, corners: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A black image with one white rectangle, and the rectangle as a box."""
    x1, y1, x2, y2 = corners
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y1:y2, x1:x2] = 255
    box = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    return pixels, np.array([box], np.float32)


def bright_box(pixels: np.ndarray) -> np.ndarray:
    """The bounding box of the bright pixels."""
    ys, xs = np.nonzero(pixels.max(-1) > 127)
    h, w = pixels.shape[:2]
    x1, x2, y1, y2 = xs.min() / w, (xs.max() + 1) / w, ys.min() / h, (ys.max() + 1) / h
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def test_flips_and_rotations_are_inverted() -> None:
    boxes = random_boxes(np.random.default_rng(0), 50)
    np.testing.assert_allclose(flip_boxes(flip_boxes(boxes)), boxes, atol=1e-6)
    for quarters in range(-4, 5):
        np.testing.assert_allclose(rotate_boxes(rotate_boxes(boxes, quarters), -quarters), boxes, atol=1e-6)
    np.testing.assert_array_equal(rotate_boxes(boxes, 4), boxes)
    assert flip_boxes(boxes).dtype == rotate_boxes(boxes, 1).dtype == np.float32


@pytest.mark.parametrize("quarters", range(4))
def test_flips_and_rotations_follow_the_pixels(quarters: int) -> None:
    image, boxes = image_with_rectangle(60, 60, (6, 12, 30, 18))
    pixels = np.asarray(image)
    np.testing.assert_allclose(bright_box(np.rot90(pixels, quarters)), rotate_boxes(boxes, quarters)[0], atol=1e-6)
    np.testing.assert_allclose(bright_box(pixels[:, ::-1]), flip_boxes(boxes)[0], atol=1e-6)


def test_crops_are_inverted() -> None:
    rng = np.random.default_rng(1)
    boxes = random_boxes(rng, 50)
    for _ in range(20):
        w, h = rng.uniform(1, 1.5, 2)  # larger than the image, so that nothing is cut off
        window = Window(-rng.uniform(0, w - 1), -rng.uniform(0, h - 1), w, h)
        inside, kept = crop_boxes(boxes, window)
        assert kept.all()
        back, kept = crop_boxes(inside, Window(-window.x / w, -window.y / h, 1 / w, 1 / h))
        assert kept.all()
        np.testing.assert_allclose(back, boxes, atol=1e-6)
    np.testing.assert_allclose(crop_boxes(boxes, WHOLE_IMAGE)[0], boxes, atol=1e-6)


def test_a_crop_keeps_boxes_that_are_mostly_inside() -> None:
    boxes = np.array(
        [[0.5, 0.5, 0.2, 0.2], [0.24, 0.5, 0.1, 0.1], [0.22, 0.5, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1]], np.float32
    )
    inside, kept = crop_boxes(boxes, Window(0.25, 0.25, 0.5, 0.5))
    assert kept.tolist() == [True, True, False, False]  # inside: all, 40 %, 20 %, none
    np.testing.assert_allclose(inside[:2], [[0.5, 0.5, 0.4, 0.4], [0.04, 0.5, 0.08, 0.2]], atol=1e-6)
    empty, kept = crop_boxes(np.zeros((0, 4), np.float32), WHOLE_IMAGE)
    assert (empty.shape, kept.shape) == ((0, 4), (0,))
    assert not crop_boxes(np.array([[0.5, 0.5, 0, 0.1]], np.float32), WHOLE_IMAGE)[1].any()


def test_a_crop_follows_the_pixels() -> None:
    image, boxes = image_with_rectangle(120, 80, (30, 20, 90, 60))
    window = Window(0.1, 0.2, 0.7, 0.6)
    inside, _ = crop_boxes(boxes, window)
    np.testing.assert_allclose(bright_box(crop(image, window, 200)), inside[0], atol=0.01)


@pytest.mark.parametrize("size", [(100, 100), (300, 100), (10, 500)])
def test_random_windows_stay_inside(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    windows = [random_window(rng, *size) for _ in range(500)]
    for window in windows:
        assert min(window.x, window.y) >= 0
        assert max(window.x + window.w, window.y + window.h) <= 1 + 1e-9
        assert window.w * window.h <= CROP_AREA[1] + 1e-9
    if size[0] == size[1]:
        areas = np.array([window.w * window.h for window in windows])
        assert areas.min() > 0.9 * CROP_AREA[0]
        assert 0.6 < areas.mean() < 0.85


def test_required_shorter_side() -> None:
    assert required_shorter_side(WHOLE_IMAGE, 224) == 224
    assert required_shorter_side(Window(0, 0, 0.5, 0.8), 224) == 448


def test_augmented_boxes_follow_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transforms, "JITTER", 0.0)
    image, boxes = image_with_rectangle(150, 100, (60, 30, 90, 70))
    seen = set()
    for seed in range(60):
        pixels, out, labels = augmented(image, boxes, [3], 160, np.random.default_rng(seed))
        assert pixels.shape == (160, 160, 3)
        assert labels.tolist() == [3]
        np.testing.assert_allclose(bright_box(pixels), out[0], atol=0.015)
        seen.add(tuple(out[0].round(3)))
    assert len(seen) == 60


def test_all_eight_flips_and_rotations_occur(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transforms, "JITTER", 0.0)
    image, boxes = image_with_rectangle(32, 32, (2, 6, 10, 10))
    label = np.zeros(1, np.int32)
    rngs = map(np.random.default_rng, range(100))
    seen = {tuple(augment(image, boxes, label, WHOLE_IMAGE, 32, rng)[1][0].round(3)) for rng in rngs}
    assert len(seen) == 8


def test_at_least_one_object_is_kept() -> None:
    image, boxes = image_with_rectangle(100, 100, (0, 0, 3, 3))  # in the corner, which most crops miss
    for seed in range(100):
        _, out, labels = augmented(image, boxes, [1], 32, np.random.default_rng(seed))
        assert len(out) == len(labels) == 1
    none = np.zeros((0, 4), np.float32)
    pixels, out, labels = augmented(image, none, [], 32, np.random.default_rng(0))
    assert (pixels.shape, out.shape, labels.shape) == ((32, 32, 3), (0, 4), (0,))


def test_labels_stay_with_their_boxes() -> None:
    rng = np.random.default_rng(2)
    boxes = random_boxes(rng, 30)
    boxes[:, 2:] = np.linspace(0.1, 0.11, 30)[:, None]
    image, window = np.zeros((64, 64, 3), np.uint8), Window(0.2, 0.2, 0.5, 0.5)
    inside, kept = crop_boxes(boxes, window)
    uncut = kept & (np.abs(inside[:, 2] - boxes[:, 2] / 0.5) < 1e-6) & (np.abs(inside[:, 3] - boxes[:, 3] / 0.5) < 1e-6)
    assert 0 < uncut.sum() < 30
    _, out, labels = augment(image, boxes, np.arange(30, dtype=np.int32), window, 32, rng)
    assert labels.tolist() == np.flatnonzero(kept).tolist()
    for box, label in zip(out, labels, strict=True):
        if uncut[label]:
            np.testing.assert_allclose(sorted(box[2:]), sorted(boxes[label, 2:] / 0.5), atol=1e-6)


def test_jitter_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    once = jitter_colours(pixels, np.random.default_rng(5))
    assert once.dtype == np.uint8
    np.testing.assert_array_equal(once, jitter_colours(pixels, np.random.default_rng(5)))
    assert 1 < np.abs(once.astype(int) - pixels).mean() < 60
    monkeypatch.setattr(transforms, "JITTER", 0.0)
    np.testing.assert_allclose(jitter_colours(pixels, np.random.default_rng(5)).astype(int), pixels, atol=1)
