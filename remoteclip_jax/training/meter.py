"""An epoch's mean metrics and its speed, and the guard against a loss that is no number."""

import math
import time
from collections.abc import Mapping

import jax
import numpy as np


class NotFinite(Exception):
    """A metric that is infinite or no number: what came after it is lost to training."""


def check_finite(metrics: Mapping[str, float], step: int) -> None:
    """Raise NotFinite, naming the first metric of `step` that is infinite or no number."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise NotFinite(f"{name} is {value} at step {step}")


class Meter:
    """Collects the metrics of the steps of one epoch.

    A step's metrics are fetched while the next step runs, so that the device never waits for the host.
    """

    def __init__(self) -> None:
        self._pending: tuple[int, dict[str, jax.Array]] | None = None
        self._rows: list[dict[str, float]] = []
        self._first = self._last = 0.0

    def add(self, step: int, metrics: dict[str, jax.Array]) -> dict[str, float]:
        """Take in the metrics of `step` and return the previous step's (empty at the first).

        Raises NotFinite where those are not finite.
        """
        self._fetch()
        self._pending = step, metrics
        return self._rows[-1] if self._rows else {}

    def means(self) -> dict[str, float]:
        """Mean metrics of the epoch, its last learning rate, and `iterations_per_sec` without the first step, which
        may have compiled."""
        self._fetch()
        timed = len(self._rows) - 1
        names = dict.fromkeys(name for row in self._rows for name in row)  # not every kind of step has all of them
        means = {name: float(np.mean([row[name] for row in self._rows if name in row])) for name in names}
        means["learning_rate"] = self._rows[-1]["learning_rate"]
        means["iterations_per_sec"] = timed / (self._last - self._first) if timed else 0.0
        return means

    def _fetch(self) -> None:
        if self._pending is None:
            return
        step, metrics = self._pending
        self._pending = None
        row = {name: float(value) for name, value in metrics.items()}  # waits for the step
        check_finite(row, step)
        self._last = time.monotonic()
        self._first = self._last if not self._rows else self._first
        self._rows.append(row)
