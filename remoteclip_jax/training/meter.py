"""The mean metrics and the speed of an epoch, and the check that metrics are finite."""

import math
import time
from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array

MAX_PENDING_STEPS = 20  # fetched together; this also bounds the steps that are handed over before the device is done
FETCH_SECONDS = 1.0  # between fetches, so that the progress bar of slow steps stays live


class NonFiniteError(Exception):
    """A metric is infinite or not a number. What is trained after that is lost."""


def check_finite(metrics: Mapping[str, float], step: int) -> None:
    """Raise NonFiniteError if a metric of `step` is not finite, naming the first one."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise NonFiniteError(f"{name} is {value} at step {step}")


class Meter:
    """Collects the metrics of the steps of one epoch.

    Fetching metrics waits for their step, and then the device has nothing to do until it gets the next one. So the
    metrics of `MAX_PENDING_STEPS` steps, or of as many as take `FETCH_SECONDS`, are fetched together. Those of the
    first step are fetched at once, because that step may have compiled, and the clock starts when it has ended; those
    of the second step too, which tells the pace.

    `saved` is the result of `to_json` at a checkpoint within the epoch. With it, a resumed epoch has the means of an
    uninterrupted one.
    """

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        saved = saved or {"sums": {}, "counts": {}, "last": {}}
        self._sums: dict[str, float] = dict(saved["sums"])
        self._counts: dict[str, int] = dict(saved["counts"])  # by metric: the two phases have different metrics
        self._last: dict[str, float] = dict(saved["last"])
        self._pending: list[tuple[int, dict[str, Array]]] = []
        self._max_pending = 1
        self._fetched, self._begin, self._end = 0, 0.0, 0.0

    def add(self, step: int, metrics: dict[str, Array]) -> dict[str, float] | None:
        """Add the metrics of `step`. Returns them if they have been fetched, so that the device is done with this step
        and all earlier ones; else None.

        Raises NonFiniteError if metrics that are fetched now are not finite.
        """
        self._pending.append((step, jax.copy_to_host_async(metrics)))  # the copying overlaps with later steps
        if len(self._pending) < self._max_pending and time.monotonic() - self._end < FETCH_SECONDS:
            return None
        self._fetch()
        return self._last

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint within an epoch has to store. Raises NonFiniteError like `add`."""
        self._fetch()
        return {"sums": self._sums, "counts": self._counts, "last": self._last}

    def means(self) -> dict[str, float]:
        """The mean metrics of the epoch, its last learning rate, and `iterations_per_sec` from the end of the first
        step to the end of the last (0 for a single step). Raises NonFiniteError like `add`."""
        self._fetch()
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        means["learning_rate"] = self._last["learning_rate"]
        timed = self._fetched - 1
        means["iterations_per_sec"] = timed / (self._end - self._begin) if timed > 0 else 0.0
        return means

    def _fetch(self) -> None:
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        fetched = jax.device_get([metrics for _, metrics in pending])  # waits for the last step
        now = time.monotonic()
        if self._fetched:
            pace = len(pending) / max(now - self._end, 1e-9)
            self._max_pending = min(MAX_PENDING_STEPS, max(1, int(pace * FETCH_SECONDS)))
        else:
            self._begin = now
        self._end, self._fetched = now, self._fetched + len(pending)
        for (step, _), metrics in zip(pending, fetched, strict=True):
            self._last = {name: float(value) for name, value in metrics.items()}
            check_finite(self._last, step)
            for name, value in self._last.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
                self._counts[name] = self._counts.get(name, 0) + 1
