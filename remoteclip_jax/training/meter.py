"""The mean metrics and the speed of an epoch, and the check that metrics are finite."""

import math
import time
from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array


class NonFiniteError(Exception):
    """A metric is infinite or not a number. What is trained after that is lost."""


def check_finite(metrics: Mapping[str, float], step: int) -> None:
    """Raise NonFiniteError if a metric of `step` is not finite, naming the first one."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise NonFiniteError(f"{name} is {value} at step {step}")


class Meter:
    """Collects the metrics of the steps of one epoch.

    The metrics of a step are fetched while the next step runs, so that the device never waits for the host. Those of
    the first step are fetched at once, because that step may have compiled, and the clock starts when it has ended.

    `saved` is the result of `to_json` at a checkpoint within the epoch. With it, a resumed epoch has the means of an
    uninterrupted one.
    """

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        saved = saved or {"sums": {}, "counts": {}, "last": {}}
        self._sums: dict[str, float] = dict(saved["sums"])
        self._counts: dict[str, int] = dict(saved["counts"])  # by metric: the two phases have different metrics
        self._last: dict[str, float] = dict(saved["last"])
        self._pending: tuple[int, dict[str, Array]] | None = None
        self._fetched, self._begin, self._end = 0, 0.0, 0.0

    def add(self, step: int, metrics: dict[str, Array]) -> dict[str, float]:
        """Add the metrics of `step`. Returns the latest fetched ones, usually those of the previous step.

        Raises NonFiniteError if the fetched metrics are not finite.
        """
        self._fetch()
        self._pending = step, metrics
        if not self._fetched:
            self._fetch()
        return self._last

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint within an epoch has to store."""
        self._fetch()
        return {"sums": self._sums, "counts": self._counts, "last": self._last}

    def means(self) -> dict[str, float]:
        """The mean metrics of the epoch, its last learning rate, and `iterations_per_sec` from the end of the first
        step to the end of the last (0 for a single step)."""
        self._fetch()
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        means["learning_rate"] = self._last["learning_rate"]
        timed = self._fetched - 1
        means["iterations_per_sec"] = timed / (self._end - self._begin) if timed > 0 else 0.0
        return means

    def _fetch(self) -> None:
        if self._pending is None:
            return
        step, metrics = self._pending
        self._pending = None
        self._last = {name: float(value) for name, value in jax.device_get(metrics).items()}  # waits for the step
        check_finite(self._last, step)
        self._end = time.monotonic()
        self._begin = self._begin if self._fetched else self._end
        self._fetched += 1
        for name, value in self._last.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
