"""The windows in which a large image is looked at, so that its objects have the sizes that were learned.

A detector learns objects in whole training images. A scene of 10,000 pixels, seen whole, would show them far too small.
So it is cut into overlapping squares as large as the training images (Akyon et al. 2022, SAHI), and, for what is larger
than a square, into squares of four times that side, and so on; the last level is the whole image.

Every point of the image belongs to one window of each level: an object is taken from the window that its centre belongs
to. That is where it is cut least: objects up to the overlap are whole there.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

OVERLAP = 0.25  # of a window's side, at least: the size up to which objects are whole in one of the windows
GROWTH = 4  # of the side, from a level to the next: together, the coarser levels have a fifteenth of the windows
MAX_WHOLE = 1.5  # an image up to this many times the window's side is seen whole
SMALLEST_WINDOW = 32  # pixels
SLACK = 0.8  # the next level also finds objects that are a little smaller than the overlap

Interval = tuple[float, float]


@dataclass(frozen=True)
class SceneWindow:
    """A square window of an image, in its pixels. It may reach beyond the right and the lower border.

    It keeps objects whose centre lies in `own_x` and `own_y`, whose longer side is at least `min_object`, and which do
    not touch one of the `inner` borders (left, top, right, bottom), where the image goes on. `level` counts from 0, the
    finest.
    """

    left: int
    top: int
    side: int
    own_x: Interval = (-math.inf, math.inf)
    own_y: Interval = (-math.inf, math.inf)
    inner: tuple[bool, bool, bool, bool] = (False, False, False, False)
    min_object: float = 0.0
    level: int = 0
    is_whole: bool = False  # it contains the whole image


@dataclass(frozen=True)
class WindowRow:
    """Windows of one level that lie side by side."""

    top: int
    side: int
    windows: tuple[SceneWindow, ...]


def is_seen_whole(width: int, height: int, side: int | None) -> bool:
    """Whether an image is seen in one window rather than in several of `side` pixels (None: always)."""
    return side is None or max(width, height) <= MAX_WHOLE * side


def window_rows(width: int, height: int, side: int | None) -> Iterator[WindowRow]:
    """All windows of an image of `width` x `height` pixels, by level and from top to bottom; the last one is the whole
    image. `side` is that of the finest windows; None, or an image that is not much larger, gives the whole image
    alone."""
    level, smallest = 0, 0.0
    if not is_seen_whole(width, height, side):
        assert side is not None
        while side < max(width, height):
            columns, rows = _starts(width, side), _starts(height, side)
            for top, own_y in zip(rows, _shares(rows, side), strict=True):
                yield WindowRow(
                    top,
                    side,
                    tuple(
                        SceneWindow(
                            left,
                            top,
                            side,
                            own_x,
                            own_y,
                            (left > 0, top > 0, left + side < width, top + side < height),
                            smallest,
                            level,
                        )
                        for left, own_x in zip(columns, _shares(columns, side), strict=True)
                    ),
                )
            level, smallest, side = level + 1, SLACK * OVERLAP * side, GROWTH * side
    side = max(width, height)
    yield WindowRow(0, side, (SceneWindow(0, 0, side, min_object=smallest, level=level, is_whole=True),))


def window_count(width: int, height: int, side: int | None) -> int:
    """The number of windows from `window_rows`."""
    return sum(len(row.windows) for row in window_rows(width, height, side))


def _starts(length: int, side: int) -> list[int]:
    """Where windows begin along an axis: evenly, the last one at its end."""
    if length <= side:
        return [0]
    count = 1 + math.ceil((length - side) / max(1, math.floor(side * (1 - OVERLAP))))
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def _shares(starts: list[int], side: int) -> list[Interval]:
    """The part of the axis that belongs to each window: up to the middle of what it has in common with the next."""
    middles = [(second + first + side) / 2 for first, second in itertools.pairwise(starts)]
    return list(zip([-math.inf, *middles], [*middles, math.inf], strict=True))
