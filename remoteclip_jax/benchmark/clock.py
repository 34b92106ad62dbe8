"""Times of steps and of blocks of steps. The device's work is always waited for, and warm-up is left out."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

WARM_UP_STEPS = 3  # the first step compiles, the next ones still allocate
MIN_BLOCK_SECONDS = 0.2  # in shorter blocks the clock and the operating system would be measured


class Action(NamedTuple):
    """A step to time. `start` begins it and returns a result; `wait` waits for that result."""

    start: Callable[[], Any]
    wait: Callable[[Any], Any] = jax.block_until_ready


class Quartiles(NamedTuple):
    """The median and the lower and upper quartile."""

    median: float
    low: float
    high: float


def quartiles(values: Sequence[float]) -> Quartiles:
    """The quartiles of at least one value."""
    if len(values) < 2:
        return Quartiles(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Quartiles(median, low, high)


def seconds_per_step(action: Action, count: int, warm_up: int = 0) -> float:
    """The mean time of a step in a block of `count` steps, after `warm_up` steps that are not timed.

    The result of a step is waited for while the next step runs, so that the device does not wait for the host. The last
    result is waited for before the clock stops.
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
    """The number of steps in a block of `MIN_BLOCK_SECONDS`. Warms up."""
    return max(1, round(MIN_BLOCK_SECONDS / seconds_per_step(action, 1, WARM_UP_STEPS)))


def alternating_times(actions: Mapping[str, Action], rounds: int, warm_up: int = 0) -> dict[str, list[float]]:
    """The seconds per step of each action, in each of `rounds` rounds. A round is one block of every action, so that
    any drift of the machine affects all of them alike.

    All blocks have the length that the fastest action needs. Each block begins with `warm_up` steps that are not timed.
    """
    length = max(block_length(action) for action in actions.values())
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            seconds[name].append(seconds_per_step(action, length, warm_up))
    return seconds


def speed_ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """How many times faster ours is than theirs, pair by pair. The arguments are times."""
    return [b / a for a, b in zip(ours, theirs, strict=True)]
