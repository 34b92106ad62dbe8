"""How many steps fit into a given time (`--max_minutes`)."""

import time
from collections.abc import Callable

RESERVE = 0.03  # share of the time kept back: for the program's own start, and because a machine's speed drifts


def measure(action: Callable[[], object], repeats: int = 1, warm_up: int = 1) -> float:
    """Mean seconds of `action`, which must block until its result is there, after `warm_up` calls that do not count."""
    for _ in range(warm_up):
        action()
    begin = time.monotonic()
    for _ in range(repeats):
        action()
    return (time.monotonic() - begin) / repeats


def fit_steps(minutes: float, used: float, step_seconds: float, end_seconds: float) -> int:
    """The number of steps, at least one, that fit into `minutes` of which `used` seconds have gone already and
    `end_seconds` go to what follows the last step."""
    left = minutes * 60 * (1 - RESERVE) - used - end_seconds
    return max(1, int(left / step_seconds))
