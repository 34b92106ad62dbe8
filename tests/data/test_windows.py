"""Square windows: boxes follow the pixels, padding is outside the image, and boxes convert back exactly."""

import itertools

import numpy as np
import pytest
from PIL import Image

from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.transforms import Window, crop_boxes, flip_boxes, rotate_boxes
from remoteclip_jax.data.windows import (
    PADDING,
    crop_square,
    enclosing_square,
    random_square,
    random_square_around,
    rounded_window,
    square_to_pixels,
    window_pyramid,
)
from tests.shared_data import SHARED, requires_shared

SIZES = [(100, 100), (160, 90), (90, 160), (333, 47), (64, 63)]


def image_with_rectangle(width: int, height: int, corners: tuple[int, int, int, int]) -> tuple[Image.Image, np.ndarray]:
    """A black image with one red rectangle, and the rectangle as a box."""
    x1, y1, x2, y2 = corners
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y1:y2, x1:x2, 0] = 255
    box = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    return Image.fromarray(pixels), np.array([box], np.float32)


def red_corners(pixels: np.ndarray) -> np.ndarray:
    """The corners in pixels of the red area; padding and black do not count."""
    ys, xs = np.nonzero((pixels[..., 0] > 127) & (pixels[..., 1] < 64))
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])


def corners(box: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2]) * size


@pytest.mark.parametrize("size", SIZES)
def test_the_enclosing_square_has_the_image_in_its_upper_left_corner(size: tuple[int, int]) -> None:
    width, height = size
    image = np.full((height, width, 3), (250, 0, 0), np.uint8)
    window = enclosing_square(width, height)
    assert (window.x, window.y) == (0, 0)
    assert window.w * width == pytest.approx(window.h * height) == pytest.approx(max(size))
    pixels = crop_square(image, window, 64)
    assert (pixels.shape, pixels.dtype) == ((64, 64, 3), np.uint8)
    w, h = round(64 * width / max(size)), round(64 * height / max(size))
    assert (pixels[:h, :w] == (250, 0, 0)).all()
    assert (pixels[h:] == PADDING).all()
    assert (pixels[:, w:] == PADDING).all()


def test_a_window_inside_the_image_is_a_plain_crop() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    pixels = crop_square(image, Window(10 / 80, 20 / 60, 32 / 80, 32 / 60), 32)
    np.testing.assert_array_equal(pixels, image[20:52, 10:42])


def test_a_window_beyond_the_border_is_padded() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    pixels = crop_square(image, Window(-20 / 60, -10 / 40, 100 / 60, 100 / 40), 50)
    inside = np.zeros((50, 50), bool)
    inside[5:25, 10:40] = True
    assert (pixels[inside] == 0).all()
    assert (pixels[~inside] == PADDING).all()


def test_an_image_of_one_pixel_width_is_visible() -> None:
    for size in ((2000, 1), (1, 2000)):
        pixels = crop_square(np.full((*size[::-1], 3), (250, 0, 0), np.uint8), enclosing_square(*size), 32)
        assert (pixels == (250, 0, 0)).all(-1).sum() == 32


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("zoom", [0.6, 2.0])
def test_boxes_follow_the_pixels(size: tuple[int, int], zoom: float) -> None:
    width, height = size
    rng = np.random.default_rng(width)
    checked = 0
    for _ in range(20):
        x, y = (int(rng.integers(0, length // 2)) for length in size)
        w, h = (int(rng.integers(length // 3, length // 2)) for length in size)
        image, boxes = image_with_rectangle(width, height, (x, y, x + w, y + h))
        window = rounded_window(random_square(width, height, zoom, rng), *size)
        side = 160
        inside, _ = crop_boxes(boxes, window)
        if inside[0, 2:].min() * side < 4:  # cut off, or nearly
            continue
        pixels = crop_square(np.asarray(image), window, side)
        np.testing.assert_allclose(red_corners(pixels), corners(inside[0], side), atol=2)
        checked += 1
    assert checked >= 3


@pytest.mark.parametrize("size", [*SIZES, (1, 40), (2000, 1)])
def test_rounded_windows_are_square_close_and_never_empty(size: tuple[int, int]) -> None:
    width, height = size
    rng = np.random.default_rng(0)
    for _ in range(200):
        window = random_square(width, height, rng.uniform(0.5, 3), rng)
        whole = rounded_window(window, width, height)
        numbers = np.array([whole.x * width, whole.y * height, whole.w * width, whole.h * height])
        np.testing.assert_allclose(numbers, numbers.round(), atol=1e-9)
        assert numbers[2] == pytest.approx(numbers[3])
        before = np.array([window.x * width, window.y * height, window.w * width, window.h * height])
        assert np.abs(numbers - before).max() <= 1
        pixels = crop_square(np.full((height, width, 3), 250, np.uint8), whole, 16)
        assert pixels.shape == (16, 16, 3)
        assert (pixels == 250).any()


@requires_shared
def test_windows_look_like_those_of_pillow() -> None:
    """The mean difference to its bicubic filter is less than two of 255 on real images at every scale, and zero if
    nothing is resized."""
    rng, differences = np.random.default_rng(0), []
    for path in sorted((SHARED / "gdit_airport" / "images").rglob("*.jpg"))[:20]:
        image = read_image(path)
        for side in (300, 256, 200, 400, 520):
            left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
            window = Window(left / image.width, top / image.height, side / image.width, side / image.height)
            expected = image.crop((left, top, left + side, top + side)).resize((256, 256), Image.Resampling.BICUBIC)
            found = crop_square(np.asarray(image), window, 256).astype(int)
            differences.append(np.abs(found - np.asarray(expected)).mean())
            assert side != 256 or not differences[-1]
    assert np.mean(differences) < 2


@pytest.mark.parametrize("size", [(700, 500), (1001, 433), (640, 640), (400, 1303)])
def test_the_views_of_a_huge_image(size: tuple[int, int]) -> None:
    """It is averaged first, which changes hardly anything, and boxes stay where they are."""
    image, box = image_with_rectangle(*size, (size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2))
    window = enclosing_square(*size)
    inside, _ = crop_boxes(box, window)
    for pixels, view in zip(window_pyramid(image, window, (32, 96)), (32, 96), strict=True):
        assert pixels.shape == (view, view, 3)
        assert np.abs(pixels.astype(int) - crop_square(np.asarray(image), window, view)).mean() < 2
        np.testing.assert_allclose(red_corners(pixels), corners(inside[0], view), atol=1)


@pytest.mark.parametrize("size", SIZES)
def test_random_squares_are_squares_that_overlap_the_image(size: tuple[int, int]) -> None:
    width, height = size
    rng = np.random.default_rng(0)
    for _ in range(200):
        zoom = rng.uniform(0.5, 3)
        window = random_square(width, height, zoom, rng)
        side = window.w * width
        assert side == pytest.approx(window.h * height)
        assert side == pytest.approx(max(size) / zoom)
        for start, length in ((window.x * width, width), (window.y * height, height)):
            if side >= length:  # it contains the whole image
                assert start <= 1e-6
                assert start + side >= length - 1e-6
            else:
                assert start >= -1e-6
                assert start + side <= length + 1e-6


@pytest.mark.parametrize("size", SIZES)
def test_squares_around_a_box_contain_it(size: tuple[int, int]) -> None:
    width, height = size
    rng = np.random.default_rng(1)
    for _ in range(100):
        box_size = rng.uniform(0, 1, 2) ** 2
        box = np.concatenate([rng.uniform(box_size / 2, 1 - box_size / 2), box_size]).astype(np.float32)
        window = random_square_around(box, width, height, rng.uniform(1, 4), rng)
        assert window.w * width == pytest.approx(window.h * height)
        inside, kept = crop_boxes(box[None], window)
        assert kept.all() or box_size.min() == 0
        np.testing.assert_allclose(inside[0, 2:], box[2:] / [window.w, window.h], atol=1e-4)  # nothing is cut off


@pytest.mark.parametrize("size", SIZES)
def test_square_to_pixels_is_the_inverse(size: tuple[int, int]) -> None:
    width, height = size
    rng = np.random.default_rng(2)
    half = rng.uniform(0.01, 0.2, (50, 2))
    boxes = np.concatenate([rng.uniform(half, 1 - half), 2 * half], -1).astype(np.float32)
    inside, kept = crop_boxes(boxes, enclosing_square(width, height))
    assert kept.all()
    square = np.concatenate([inside[:, :2] - inside[:, 2:] / 2, inside[:, :2] + inside[:, 2:] / 2], -1)
    pixels = square_to_pixels(square, width, height)
    expected = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], -1)
    np.testing.assert_allclose(pixels, expected * [width, height, width, height], atol=1e-3)
    assert pixels.dtype == np.float32


def test_boxes_in_the_padding_are_clipped_to_the_image() -> None:
    found = np.array([[0.2, 0.3, 0.9, 0.9], [0.1, 0.8, 0.2, 0.9], [-0.1, -0.1, 2.0, 2.0]], np.float32)
    expected = [[20, 30, 90, 50], [10, 50, 20, 50], [0, 0, 100, 50]]
    np.testing.assert_allclose(square_to_pixels(found, 100, 50), expected, atol=1e-4)


def test_every_flip_and_rotation_is_inverted_exactly() -> None:
    """Bit by bit, on coordinates that are exact in floating point."""
    rng = np.random.default_rng(3)
    boxes = (rng.integers(0, 1025, (100, 4)) / 1024).astype(np.float32)
    for flip, quarters in itertools.product((False, True), range(4)):
        moved = rotate_boxes(flip_boxes(boxes) if flip else boxes, quarters)
        back = rotate_boxes(moved, -quarters)
        np.testing.assert_array_equal(flip_boxes(back) if flip else back, boxes)
        assert moved.dtype == np.float32
