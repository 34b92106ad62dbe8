"""The windows of large images: together they see everything, and each object once."""

import math

import numpy as np
import pytest

from remoteclip_jax.data.tiling import GROWTH, MAX_WHOLE, OVERLAP, SLACK, SceneWindow, window_count, window_rows

SIZES = [(6000, 6000, 600), (20_000, 700, 600), (901, 1, 600), (3001, 2999, 256), (97, 1000, 64), (601, 601, 400)]


def levels(width: int, height: int, side: int | None) -> list[list[SceneWindow]]:
    windows = [window for row in window_rows(width, height, side) for window in row.windows]
    return [[w for w in windows if w.level == level] for level in range(windows[-1].level + 1)]


@pytest.mark.parametrize(("width", "height", "side"), SIZES)
def test_every_point_belongs_to_one_window_of_each_level(width: int, height: int, side: int) -> None:
    points = np.random.default_rng(0).uniform((0, 0), (width, height), (500, 2))
    for windows in levels(width, height, side):
        owners = np.zeros(len(points), int)
        for w in windows:
            x, y = points.T
            owners += (w.own_x[0] <= x) & (x < w.own_x[1]) & (w.own_y[0] <= y) & (y < w.own_y[1])
        assert (owners == 1).all()


@pytest.mark.parametrize(("width", "height", "side"), SIZES)
def test_an_object_up_to_the_overlap_is_whole_where_its_centre_is(width: int, height: int, side: int) -> None:
    rng = np.random.default_rng(1)
    for windows in levels(width, height, side):
        size = math.floor(OVERLAP * windows[0].side)
        for x, y in rng.uniform((0, 0), (max(0, width - size), max(0, height - size)), (100, 2)):
            cx, cy = x + size / 2, y + size / 2
            (owner,) = (w for w in windows if w.own_x[0] <= cx < w.own_x[1] and w.own_y[0] <= cy < w.own_y[1])
            right, bottom = min(x + size, width), min(y + size, height)
            assert owner.left <= x + 1 and right <= owner.left + owner.side + 1  # noqa: PT018
            assert owner.top <= y + 1 and bottom <= owner.top + owner.side + 1  # noqa: PT018


@pytest.mark.parametrize(("width", "height", "side"), SIZES)
def test_windows_lie_in_the_image_and_know_where_it_goes_on(width: int, height: int, side: int) -> None:
    for windows in levels(width, height, side)[:-1]:
        for w in windows:
            assert 0 <= w.left <= max(0, width - w.side)
            assert 0 <= w.top <= max(0, height - w.side)
            assert w.inner == (w.left > 0, w.top > 0, w.left + w.side < width, w.top + w.side < height)


def test_coarser_levels_find_what_the_finer_ones_cut() -> None:
    found = levels(20_000, 20_000, 600)
    assert [windows[0].side for windows in found] == [600, 2400, 9600, 20_000]
    assert [windows[0].min_object for windows in found] == [0, SLACK * 150, SLACK * 600, SLACK * 2400]
    assert found[-1][0].is_whole
    assert not any(w.is_whole for windows in found[:-1] for w in windows)
    fine, *coarse = map(len, found)
    assert sum(coarse) < 1.2 * fine / (GROWTH**2 - 1) + 1
    assert window_count(20_000, 20_000, 600) == fine + sum(coarse)


@pytest.mark.parametrize(("width", "height", "side"), [(900, 600, 600), (300, 20, 600), (9000, 9000, None)])
def test_images_that_are_seen_whole(width: int, height: int, side: int | None) -> None:
    assert side is None or max(width, height) <= MAX_WHOLE * side
    ((window,),) = levels(width, height, side)
    assert (window.left, window.top, window.side) == (0, 0, max(width, height))
    assert window.is_whole
    assert window.min_object == 0
    assert window.inner == (False,) * 4
