"""The views (scales) at which an image is processed, and which objects belong to which view.

An object is learned and detected in a view where it is neither tiny nor huge (SNIP, Singh & Davis 2018). A narrow range
of sizes in pixels can be learned from far fewer images than all sizes; and aerial objects range from a windmill of 2 %
of the image's side to an airport of 60 %.
"""

import itertools
import math
from collections.abc import Sequence

from remoteclip_jax.errors import UserError

STRIDE, MAX_SIZE = 32, 4096
MIN_OBJECT_PIXELS = 24.0  # an object belongs to the coarsest view in which it is at least this large
SLACK = 1.15  # factor at both ends of a range: an object between two views may be detected in either


def size_ranges(views: tuple[int, ...], slack: float = SLACK) -> list[tuple[float, float]]:
    """For each of `views` (pixels of the image's longer side, ascending), the range of sizes of the objects that belong
    to it. The size is the square root of the object's area, in units of the image's longer side."""
    bounds = [math.inf, *(MIN_OBJECT_PIXELS / view for view in views[:-1]), 0.0]
    return [(low / slack, high * slack) for high, low in itertools.pairwise(bounds)]


def parse_views(text: str) -> tuple[int, ...]:
    """The sizes from a text such as "128,256,896". UserError if one is not a whole number."""
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise UserError(f"--views={text}: expected sizes in pixels, such as 128,256,896") from None


def format_views(views: Sequence[int]) -> str:
    """The sizes as a text such as "128, 256 and 896"."""
    *most, last = map(str, views)
    return f"{', '.join(most)} and {last}" if most else last


def resized_views(views: tuple[int, ...], size: int) -> tuple[int, ...]:
    """`views` with `size` as the finest, and the others in proportion, without those too small to be of use."""
    coarser = (round(view * size / views[-1] / STRIDE) * STRIDE for view in views[:-1])
    return (*sorted({view for view in coarser if 2 * STRIDE <= view < size}), size)


def check_views(views: tuple[int, ...]) -> None:
    """UserError unless the image tower accepts these sizes and each is larger than the one before it."""
    for view in views:
        check_size(view, "--views")
    if not views or sorted(set(views)) != list(views):
        raise UserError(
            f"--views={','.join(map(str, views))}: expected sizes in pixels, each larger than the one before"
        )


def check_size(size: int, flag: str = "--image_size") -> None:
    """UserError if the image tower does not accept images of this size."""
    if not STRIDE <= size <= MAX_SIZE or size % STRIDE:
        raise UserError(
            f"{flag}={size} must be a multiple of {STRIDE}, the image tower's total stride, up to {MAX_SIZE}"
        )
