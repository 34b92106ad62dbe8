"""The views of an image: every object belongs to a view, and users' sizes are checked."""

import numpy as np
import pytest

from remoteclip_jax.data.views import (
    MIN_OBJECT_PIXELS,
    check_views,
    format_views,
    parse_views,
    resized_views,
    size_ranges,
)
from remoteclip_jax.errors import UserError

VIEWS = (128, 256, 896)


def test_every_size_belongs_to_a_view() -> None:
    sizes = np.geomspace(1e-4, 1.0, 500)
    for views in (VIEWS, (800,), (64, 4096)):
        strict = np.array([(low <= sizes) & (sizes < high) for low, high in size_ranges(views, slack=1.0)])
        assert (strict.sum(0) == 1).all()
        loose = np.array([(low <= sizes) & (sizes < high) for low, high in size_ranges(views, slack=1.3)])
        assert (loose >= strict).all()


def test_objects_belong_to_the_coarsest_view_in_which_they_are_large_enough() -> None:
    ranges = size_ranges(VIEWS, slack=1.0)
    for view, (low, _) in zip(VIEWS[:-1], ranges, strict=False):
        assert low * view == pytest.approx(MIN_OBJECT_PIXELS)
    for coarser, (_, high) in zip(VIEWS, ranges[1:], strict=False):
        assert high * coarser == pytest.approx(MIN_OBJECT_PIXELS)
    assert size_ranges((800,)) == [(0.0, np.inf)]


def test_resized_views_keep_the_proportions() -> None:
    assert resized_views(VIEWS, 896) == VIEWS
    assert resized_views(VIEWS, 1792) == (256, 512, 1792)
    assert resized_views(VIEWS, 448) == (64, 128, 448)
    assert resized_views(VIEWS, 224) == (64, 224)  # 32 is too small to be of use
    assert resized_views(VIEWS, 64) == (64,)
    assert resized_views((800,), 640) == (640,)


def test_checks_of_users_sizes() -> None:
    assert parse_views("128, 256,896") == VIEWS
    check_views(VIEWS)
    for views, message in (
        ((), "expected sizes in pixels"),
        ((256, 128), "--views=256,128: expected"),
        ((128, 128), "each larger"),
        ((128, 250), "--views=250 must be a multiple of 32"),
        ((8192,), "up to 4096"),
        ((0,), "--views=0 must"),
    ):
        with pytest.raises(UserError, match=message):
            check_views(views)
    for text in ("", "128,", "large", "128;256"):
        with pytest.raises(UserError, match="expected sizes in pixels, such as"):
            parse_views(text)


def test_format_views() -> None:
    assert [format_views(views) for views in (VIEWS, (64, 96), (800,))] == ["128, 256 and 896", "64 and 96", "800"]
