"""Means and speed of an epoch, whether steps are dispatched ahead or not, and where it goes on after a checkpoint."""

import json

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
    epoch.add(2, {"loss": np.float32("nan"), "learning_rate": np.float32(1)})
    with pytest.raises(NonFiniteError, match="loss is nan at step 2"):
        epoch.means()
