"""An epoch's mean metrics and its speed, and the guard against a loss that is no number."""

import math
import time
from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array


class NotFinite(Exception):
    """A metric that is infinite or no number: what came after it is lost to training."""


def check_finite(metrics: Mapping[str, float], step: int) -> None:
    """Raise NotFinite, naming the first metric of `step` that is infinite or no number."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise NotFinite(f"{name} is {value} at step {step}")


class Meter:
    """Collects the metrics of the steps of one epoch.

    A step's metrics are fetched while the next step runs, so that the device never waits for the host; the first ones
    at once, for the clock starts when that step, which may have compiled, has ended. `begun` is what `to_json` gave of
    the epoch's steps before a checkpoint, so that a resumed epoch has the means of an unbroken one.
    """

    def __init__(self, begun: Mapping[str, Any] | None = None) -> None:
        begun = begun or {"sums": {}, "counts": {}, "last": {}}
        self._sums: dict[str, float] = dict(begun["sums"])
        self._counts: dict[str, int] = dict(begun["counts"])  # not every kind of step has all metrics
        self._last: dict[str, float] = dict(begun["last"])
        self._pending: tuple[int, dict[str, Array]] | None = None
        self._fetched, self._begin, self._end = 0, 0.0, 0.0

    def add(self, step: int, metrics: dict[str, Array]) -> dict[str, float]:
        """Take in the metrics of `step` and return the latest that are there, the previous step's as a rule.

        Raises NotFinite where those are not finite.
        """
        self._fetch()
        self._pending = step, metrics
        if not self._fetched:
            self._fetch()
        return self._last

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint in the middle of an epoch has to keep."""
        self._fetch()
        return {"sums": self._sums, "counts": self._counts, "last": self._last}

    def means(self) -> dict[str, float]:
        """Mean metrics of the epoch, its last learning rate, and `iterations_per_sec` from the end of the first step to
        the end of the last (0 where there is but one)."""
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
