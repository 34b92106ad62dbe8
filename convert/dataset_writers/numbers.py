"""Coordinates as text that gives the same numbers when it is read."""

import numpy as np


def number_text(value: float) -> str:
    """The shortest decimal that is read as exactly `value`: `12`, `12.5`, without an exponent."""
    return np.format_float_positional(value + 0.0, trim="-")  # + 0.0, for there is a negative zero


def far_side(start: float, size: float) -> float:
    """The other side of a box that begins at `start`: the shortest decimal from which a reader gets `size` again.

    `start + size` is rounded, and `start + size - start` is often not `size`. If no decimal gives it, for `size` has
    more digits than the sum can hold, the sum is returned, which is the nearest.
    """
    total = start + size
    candidates = (round(total, digits) for digits in range(17))
    return next((side for side in candidates if side - start == size), total)
