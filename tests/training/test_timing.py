"""A training fitted to a time takes that time, whatever the first steps made one believe."""

from collections.abc import Callable

import pytest

from remoteclip_jax.training import timing
from remoteclip_jax.training.timing import Fit

Pace = Callable[[bool, float], float]  # (aligning, seconds since the start) → seconds of a step


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def train(
    monkeypatch: pytest.MonkeyPatch,
    minutes: float,
    pace: Pace,
    *,
    start: float,
    guess: tuple[float, float],
    first_share: float = 0.45,
    evaluation: float = 10.0,
    guessed_evaluation: float = 10.0,
    validations: int | None = 1,
    per_epoch: int = 60,
    ahead: int = 1,
) -> tuple[float, list[tuple[int, int]]]:
    """Minutes by the clock, and the plans (steps in all, of which align) on the way. The device is waited for after
    every `ahead` steps, after the first two of an epoch, and at its end; the other steps seem to take no time."""
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    fit = Fit(minutes, 0.0, first_share, validations, per_epoch, 1.0, *guess, guessed_evaluation)
    clock.now = start
    plans, done, device = [fit.step_counts(0, None)], 0, start
    while done < plans[-1][0]:
        done += 1
        first_steps, in_epoch = plans[-1][1], (done - 1) % per_epoch + 1
        device = max(device, clock.now) + pace(done <= first_steps, device)
        ended = in_epoch <= 2 or in_epoch % ahead == 0
        if ended:
            clock.now = device
        if fit.after_step(done <= first_steps, new_phase=done in (1, first_steps + 1), ended=ended):
            plans.append(fit.step_counts(done, first_steps))
        if validations is None and done % per_epoch == 0:
            clock.now = device + evaluation
            fit.record_evaluation(evaluation)
            fit.pause()
    clock.now = max(device, clock.now)
    clock.now += (0 if validations is None else evaluation) + evaluation
    return clock.now / 60, plans


def steady(aligning: bool, _: float) -> float:
    return 0.1 if aligning else 0.15


CASES: dict[str, tuple[Pace, tuple[float, float]]] = {
    "as guessed": (steady, (0.1, 0.15)),
    "twice as slow as guessed": (steady, (0.05, 0.075)),
    "three times as fast": (steady, (0.3, 0.45)),
    "the second kind alone is slower": (lambda aligning, _: 0.1 if aligning else 0.4, (0.1, 0.15)),
    "slow at first, while images are decoded": (lambda a, t: steady(a, t) * (3 if t < 90 else 1), (0.3, 0.45)),
    "slower from the middle on": (lambda a, t: steady(a, t) * (1 if t < 180 else 1.6), (0.1, 0.15)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("validations", [1, 3, None])
@pytest.mark.parametrize("ahead", [1, 20])
def test_six_minutes_are_six_minutes(
    monkeypatch: pytest.MonkeyPatch, name: str, validations: int | None, ahead: int
) -> None:
    pace, guess = CASES[name]
    minutes, plans = train(
        monkeypatch, 6, pace, start=30, guess=guess, validations=validations, per_epoch=200, ahead=ahead
    )
    assert 5.3 <= minutes <= 6.3
    for total, first_steps in plans:
        assert 0.35 * total <= first_steps <= 0.55 * total or first_steps == plans[-1][1]


@pytest.mark.parametrize("minutes", [3, 20, 60])
def test_other_times(monkeypatch: pytest.MonkeyPatch, minutes: float) -> None:
    pace, guess = CASES["twice as slow as guessed"]
    taken, _ = train(monkeypatch, minutes, pace, start=25, guess=guess)
    assert 0.88 <= taken / minutes <= 1.05


def test_epochs_shorter_than_what_is_handed_over_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured are the second steps of epochs."""
    pace, guess = CASES["three times as fast"]
    arguments = {"start": 30, "guess": guess, "validations": None, "evaluation": 1.0, "guessed_evaluation": 1.0}
    minutes, _ = train(monkeypatch, 6, pace, per_epoch=7, ahead=20, **arguments)  # type: ignore[arg-type]
    assert 0.88 <= minutes / 6 <= 1.05


def test_a_plan_changes_only_when_the_device_has_been_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    fit = Fit(1, 0.0, 0.0, 1, 60, 1.0, 0.0, 1.0)
    refitted = []
    for step in range(1, 101):
        if step % 20 == 0:
            clock.now += 2.0
        if fit.after_step(False, new_phase=step == 1, ended=step % 20 == 0):
            refitted.append((step, fit.step_seconds))
    assert refitted == [(60, pytest.approx(0.1)), (100, pytest.approx(0.1))]


def test_a_bound_on_the_steps_bounds_the_steps_that_align() -> None:
    fit = Fit(20, timing.time.monotonic(), 0.45, 1, 60, 1.0, 0.1, 0.15, max_steps=200)
    assert fit.step_counts(0, None) == (200, 90)
    assert fit.step_counts(43, 90) == (200, 90)
    assert fit.step_counts(120, 90) == (200, 90)


def test_a_start_that_takes_longer_than_the_time_still_gives_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    _, plans = train(monkeypatch, 0.1, steady, start=100, guess=(0.1, 0.15))
    assert plans[0][0] == 1
