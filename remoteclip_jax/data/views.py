"""The scales at which an image is looked at, and which objects are sought at which.

An object is learned and found where it is neither tiny nor huge (SNIP, Singh & Davis 2018): a narrow range of sizes in
pixels is learned from far fewer images than all sizes are, and aerial objects go from a windmill of 2 % of the image's
side to an airport of 60 %.
"""

import itertools
import math
from collections.abc import Sequence

from remoteclip_jax.errors import UserError

STRIDE, MAX_SIZE = 32, 4096
LEAST = 24.0  # pixels: the coarsest view in which an object is as large as this is its own
SLACK = 1.15  # to both sides: an object between two views may be found in either


def size_ranges(views: tuple[int, ...], slack: float = SLACK) -> list[tuple[float, float]]:
    """For each of `views` (pixels of the image's longer side, ascending) the sizes of the objects that are its own: the
    square root of their area in units of that side."""
    bounds = [math.inf, *(LEAST / view for view in views[:-1]), 0.0]
    return [(low / slack, high * slack) for high, low in itertools.pairwise(bounds)]


def parse_views(text: str) -> tuple[int, ...]:
    """Sizes as a user writes them, with commas. UserError where one is no whole number."""
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise UserError(f"--views={text}: expected sizes in pixels, such as 128,256,896") from None


def told(views: Sequence[int]) -> str:
    """Such as "128, 256 and 896"."""
    *most, last = map(str, views)
    return f"{', '.join(most)} and {last}" if most else last


def resized_views(views: tuple[int, ...], size: int) -> tuple[int, ...]:
    """`views` with `size` in place of the finest and the others in proportion, as far as they are of some use."""
    coarser = (round(view * size / views[-1] / STRIDE) * STRIDE for view in views[:-1])
    return (*sorted({view for view in coarser if 2 * STRIDE <= view < size}), size)


def check_views(views: tuple[int, ...]) -> None:
    """UserError unless these are sizes that go through the image tower, each larger than the one before it."""
    for view in views:
        check_size(view, "--views")
    if not views or sorted(set(views)) != list(views):
        raise UserError(f"--views={','.join(map(str, views))}: expected sizes in pixels, each larger than the last")


def check_size(size: int, flag: str = "--image_size") -> None:
    """UserError where images of this size do not go through the image tower."""
    if not STRIDE <= size <= MAX_SIZE or size % STRIDE:
        raise UserError(
            f"{flag}={size} must be a multiple of {STRIDE}, the image tower's total stride, up to {MAX_SIZE}"
        )
