"""Times of steps and of blocks of steps: always the device's, with what the first calls cost left out."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

WARM_UP_STEPS = 3  # steps: a first one compiles, the next ones still allocate
MIN_BLOCK_SECONDS = 0.2  # seconds of a block; below it the clock and the operating system would be measured


class Action(NamedTuple):
    """`start` begins a step and returns a result, for which `wait` waits."""

    start: Callable[[], Any]
    wait: Callable[[Any], Any] = jax.block_until_ready


class Quartiles(NamedTuple):
    """Median and quartiles."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Quartiles:
    if len(values) < 2:
        return Quartiles(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Quartiles(median, low, high)


def run(action: Action, count: int, warm_up: int = 0) -> float:
    """Seconds a step, in a block of `count` after `warm_up` that do not count.

    Every step's result is waited for while the next one runs, as in the training loop, so that the device does not
    wait for the host; the last one's before the clock stops.
    """
    for _ in range(warm_up):
        action.wait(action.start())
    begin = time.perf_counter()
    pending = action.start()
    for _ in range(count - 1):
        result = action.start()
        action.wait(pending)
        pending = result
    action.wait(pending)
    return (time.perf_counter() - begin) / count


def block_length(action: Action) -> int:
    """How many steps make a block of `MIN_BLOCK_SECONDS` seconds; warms up."""
    return max(1, round(MIN_BLOCK_SECONDS / run(action, 1, WARM_UP_STEPS)))


def alternating_times(actions: Mapping[str, Action], rounds: int, warm_up: int = 0) -> dict[str, list[float]]:
    """Seconds a step of each, in `rounds` rounds of one block of each, so that whatever drifts on the machine meets
    all of them alike. All blocks have the length that the fastest needs; `warm_up` steps go before every block."""
    length = max(block_length(action) for action in actions.values())
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            seconds[name].append(run(action, length, warm_up))
    return seconds


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """How many times faster ours is, pair by pair."""
    return [b / a for a, b in zip(ours, theirs, strict=True)]
