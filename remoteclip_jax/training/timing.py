"""How many steps fit into a given time (`--max_minutes`), judged by the pace of the training so far."""

import time
from dataclasses import dataclass, field

RESERVE = 0.035  # share of the time kept back: for the program's own start and end, and for drifting machines
# The number of steps is fitted again after these shares of the time, and after this many steps of a new phase.
REFIT_SHARES = (0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.92, 0.97)
REFIT_STEPS = 40
UNTIMED_STEPS = 3  # the first steps of a phase compile, allocate, and read images for the first time


@dataclass
class Stopwatch:
    """The time of consecutive steps. Call `mark` after every step, and `pause` before other work.

    A step that was handed over to the device has not ended. So `seconds` are the time, and `steps` the number of steps,
    between steps that have `ended`, which means that the device was waited for.
    """

    seconds: float = 0.0
    steps: int = 0
    _last: float | None = None
    _steps_since: int = 0

    def mark(self, ended: bool) -> None:
        self._steps_since += 1
        if not ended:
            return
        now = time.monotonic()
        if self._last is not None:
            self.seconds, self.steps = self.seconds + now - self._last, self.steps + self._steps_since
        self._last, self._steps_since = now, 0

    def pause(self) -> None:
        self._last = None

    def restart(self) -> None:
        self.seconds, self.steps = 0.0, 0


@dataclass
class Fit:
    """Fits steps into `minutes` since `begin` (by `time.monotonic`).

    The first phase has the share `first_share` of the steps. A step takes `first_seconds` there and `step_seconds`
    after it. An evaluation takes `evaluation_seconds`. There are `validations` of them during the training (None: one
    every `steps_per_epoch` steps; 0: none). The evaluation at the end takes `final_share` times as long as one of them.
    There are never more than `max_steps` steps.
    """

    minutes: float
    begin: float
    first_share: float
    validations: int | None
    steps_per_epoch: int
    final_share: float
    first_seconds: float = 0.0
    step_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    max_steps: int | None = None
    _validations_done: int = 0
    _watch: Stopwatch = field(default_factory=Stopwatch)
    _refit_shares: list[float] = field(default_factory=lambda: list(REFIT_SHARES))
    _phase_steps: int = 0
    _phase_fitted: bool = False  # after its first REFIT_STEPS

    def step_counts(self, done: int, first_steps: int | None) -> tuple[int, int]:
        """The number of steps in total, at least one, and in the first phase.

        `done` steps are behind us. `first_steps` is the present plan for the first phase, None before the first step.
        """
        elapsed = time.monotonic() - self.begin
        seconds_left = self.minutes * 60 * (1 - RESERVE) - elapsed - self._evaluation_seconds_left()
        step_seconds = self.step_seconds
        if self.validations is None:
            step_seconds += self.evaluation_seconds / self.steps_per_epoch
        if first_steps is None or done < first_steps:
            mean = self.first_share * self.first_seconds + (1 - self.first_share) * step_seconds
            total = self._bounded(int((seconds_left + done * self.first_seconds) / mean), done)
            return total, max(done, int(self.first_share * total))
        return self._bounded(done + int(seconds_left / step_seconds), done), first_steps

    def after_step(self, in_first_phase: bool, *, new_phase: bool, ended: bool) -> bool:
        """Measure the pace after a step, which is the first of its phase if `new_phase`, and was waited for if `ended`.
        Returns whether it is time to fit again, which it is only when all steps so far have ended."""
        if new_phase:
            self._watch, self._phase_steps, self._phase_fitted = Stopwatch(), 0, False
        self._phase_steps += 1
        if self._phase_steps <= UNTIMED_STEPS:
            self._watch.pause()
        self._watch.mark(ended)
        if not ended:
            return False
        elapsed_share = (time.monotonic() - self.begin) / (self.minutes * 60)
        due = not self._phase_fitted and self._phase_steps >= REFIT_STEPS + UNTIMED_STEPS
        self._phase_fitted |= due
        while self._refit_shares and elapsed_share >= self._refit_shares[0]:
            self._refit_shares.pop(0)
            due = True
        if not due or not self._watch.steps:
            return False
        pace = self._watch.seconds / self._watch.steps
        if in_first_phase:
            self.first_seconds = pace
        else:
            self.step_seconds = pace
        self._watch.restart()
        return True

    def pause(self) -> None:
        """Do not count the time until the next step."""
        self._watch.pause()

    def record_evaluation(self, seconds: float) -> None:
        """Take note of how long an evaluation took."""
        self.evaluation_seconds, self._validations_done = seconds, self._validations_done + 1

    def _bounded(self, total: int, done: int) -> int:
        return max(1, done, total if self.max_steps is None else min(total, self.max_steps))

    def _evaluation_seconds_left(self) -> float:
        """The time of the remaining evaluations, except those that follow every epoch but the last."""
        if self.validations is None:
            validations = 1
        else:
            validations = self.validations and max(1, self.validations - self._validations_done)
        return (validations + self.final_share) * self.evaluation_seconds
