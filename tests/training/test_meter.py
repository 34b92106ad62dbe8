"""Means and speed of an epoch, whether steps are dispatched ahead or not, and where it goes on after a checkpoint."""

import json
from typing import Any

import jax
import numpy as np
import pytest

from remoteclip_jax.training import meter
from remoteclip_jax.training.meter import Meter, NonFiniteError


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("count", [2, 3, 9, 100])
def test_iterations_per_second_of_steps_that_block(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """As on a CPU: a step's result is there when the call comes back. Each takes a second, the first, which compiles,
    thirty; what is between epochs does not count."""
    clock = Clock()
    monkeypatch.setattr(meter, "time", clock)
    epoch = Meter()
    for step in range(count):
        clock.now += 1.0 if step else 30.0
        epoch.add(step, {"loss": np.float32(step), "learning_rate": np.float32(1)})
    assert epoch.means()["iterations_per_sec"] == pytest.approx(1.0)


class Device:
    """A device with a clock, which does its steps one after the other. The host hands them over in no time, and waits
    for the device when it fetches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self._end, self.fetches = Clock(), 0.0, 0
        monkeypatch.setattr(meter, "time", self.clock)
        monkeypatch.setattr(jax, "device_get", self._get)

    def step(self, seconds: float, value: float = 1.0) -> dict[str, np.float32]:
        self._end = max(self._end, self.clock.now) + seconds
        return {"loss": np.float32(value), "learning_rate": np.float32(1)}

    def _get(self, values: Any) -> Any:
        self.clock.now, self.fetches = max(self._end, self.clock.now), self.fetches + 1
        return values


def test_metrics_of_many_steps_are_fetched_together(monkeypatch: pytest.MonkeyPatch) -> None:
    device, epoch = Device(monkeypatch), Meter()
    fetched = [step for step in range(1, 101) if epoch.add(step, device.step(0.01 if step > 1 else 30, step))]
    assert fetched == [1, 2, 22, 42, 62, 82]
    assert epoch.means() == {"loss": 50.5, "learning_rate": 1, "iterations_per_sec": pytest.approx(100)}
    assert device.fetches == 7


@pytest.mark.parametrize(("seconds", "together"), [(0.2, 5), (0.6, 1), (3.0, 1)])
def test_slow_steps_are_fetched_about_once_a_second(
    monkeypatch: pytest.MonkeyPatch, seconds: float, together: int
) -> None:
    device, epoch = Device(monkeypatch), Meter()
    fetched = [step for step in range(1, 31) if epoch.add(step, device.step(seconds + 1e-6))]
    assert set(np.diff(fetched[2:])) <= {together, together - 1}
    assert epoch.means()["iterations_per_sec"] == pytest.approx(1 / seconds, rel=1e-4)


def test_steps_that_become_slow_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the call of a step comes back when the step has ended."""
    device, epoch = Device(monkeypatch), Meter()
    for step in range(1, 23):
        epoch.add(step, device.step(0.001))
    for step in range(23, 26):
        metrics = device.step(2.0, step)
        device.clock.now += 2.0
        assert epoch.add(step, metrics) == {"loss": step, "learning_rate": 1}


def test_one_step_has_no_speed() -> None:
    epoch = Meter()
    epoch.add(1, {"loss": np.float32(2), "learning_rate": np.float32(0.5)})
    assert epoch.means() == {"loss": 2, "learning_rate": 0.5, "iterations_per_sec": 0}


def test_an_epoch_that_goes_on_has_the_means_of_an_unbroken_one() -> None:
    rng = np.random.default_rng(0)
    losses = rng.random(7, np.float32)
    steps = [{"loss": x, "learning_rate": np.float32(i), "part": x * 3} for i, x in enumerate(losses)]
    del steps[2]["part"]  # not every kind of step has all metrics
    whole, first = Meter(), Meter()
    for i, metrics in enumerate(steps):
        whole.add(i, metrics)
    for i, metrics in enumerate(steps[:4]):
        first.add(i, metrics)
    second = Meter(json.loads(json.dumps(first.to_json())))
    for i, metrics in enumerate(steps[4:], start=4):
        second.add(i, metrics)
    expected, found = whole.means(), second.means()
    for means in (expected, found):
        del means["iterations_per_sec"]
    assert found == expected
    assert expected["part"] == pytest.approx(np.mean([s["part"] for s in steps if "part" in s]))


def test_what_is_not_finite_is_named() -> None:
    epoch = Meter()
    epoch.add(1, {"loss": np.float32(1), "learning_rate": np.float32(1)})
    with pytest.raises(NonFiniteError, match="loss is nan at step 2"):
        epoch.add(2, {"loss": np.float32("nan"), "learning_rate": np.float32(1)})


@pytest.mark.parametrize("end", [Meter.means, Meter.to_json])
def test_the_first_step_that_is_not_finite_is_named(monkeypatch: pytest.MonkeyPatch, end: Any) -> None:
    device, epoch = Device(monkeypatch), Meter()
    for step in range(1, 11):
        epoch.add(step, device.step(0.01, {7: np.inf, 9: np.nan}.get(step, 1.0)))
    with pytest.raises(NonFiniteError, match="loss is inf at step 7"):
        end(epoch)
