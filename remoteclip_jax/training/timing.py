"""How many steps fit into a given time (`--max_minutes`), by the pace that training has shown so far."""

import time
from dataclasses import dataclass, field

RESERVE = 0.035  # share of the time kept back: for the program's own start and end, and because machines drift
# Shares of the time after which the number of steps is fitted again, and steps of a new kind after which it is.
MOMENTS = (0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.92, 0.97)
SETTLED = 40
UNTIMED = 3  # the first steps of a kind compile, allocate, and read images for the first time


@dataclass
class Stopwatch:
    """The pace of the latest steps of one kind; `mark` after every step, `pause` where other work came between."""

    seconds: float = 0.0
    steps: int = 0
    _last: float | None = None

    def mark(self) -> None:
        now = time.monotonic()
        if self._last is not None:
            self.seconds, self.steps = self.seconds + now - self._last, self.steps + 1
        self._last = now

    def pause(self) -> None:
        self._last = None

    def restart(self) -> None:
        self.seconds, self.steps = 0.0, 0


@dataclass
class Fit:
    """Fits steps into `minutes` since `begin` (of `time.monotonic`).

    `first_share` of the steps are of another kind than the others, and come first; `first_seconds` and `step_seconds`
    are the paces. `evaluation` seconds are spent `validations` times over the training (None: after each `per_epoch`
    steps; 0: never), and `final_share` times more at its end. There are never more than `most` steps.
    """

    minutes: float
    begin: float
    first_share: float
    validations: int | None
    per_epoch: int
    final_share: float
    first_seconds: float = 0.0
    step_seconds: float = 0.0
    evaluation: float = 0.0
    most: int | None = None
    _evaluated: int = 0
    _watch: Stopwatch = field(default_factory=Stopwatch)
    _moments: list[float] = field(default_factory=lambda: list(MOMENTS))
    _steps_of_kind: int = 0

    def steps(self, done: int, first_steps: int | None) -> tuple[int, int]:
        """The total number of steps, at least one, and how many of them are of the first phase; `first_steps` is
        what was planned of these, None before the first step."""
        left = self.minutes * 60 * (1 - RESERVE) - (time.monotonic() - self.begin) - self._end(done)
        step = self.step_seconds
        if self.validations is None:
            step += self.evaluation / self.per_epoch
        if first_steps is None or done < first_steps:
            mean = self.first_share * self.first_seconds + (1 - self.first_share) * step
            total = self._bounded(int((left + done * self.first_seconds) / mean), done)
            return total, max(done, int(self.first_share * total))
        return self._bounded(done + int(left / step), done), first_steps

    def after_step(self, done: int, in_first_phase: bool, *, changed: bool) -> bool:
        """Take in that step `done` has ended, `changed` where it was the first of its kind; whether it is time to fit
        again."""
        if changed:
            self._watch, self._steps_of_kind = Stopwatch(), 0
        self._steps_of_kind += 1
        if self._steps_of_kind <= UNTIMED:
            self._watch.pause()
        self._watch.mark()
        passed = (time.monotonic() - self.begin) / (self.minutes * 60)
        due = self._steps_of_kind == SETTLED + UNTIMED
        while self._moments and passed >= self._moments[0]:
            self._moments.pop(0)
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
        """Something other than steps comes next."""
        self._watch.pause()

    def evaluated(self, seconds: float) -> None:
        """Take in that an evaluation took so long."""
        self.evaluation, self._evaluated = seconds, self._evaluated + 1

    def _bounded(self, total: int, done: int) -> int:
        return max(1, done, total if self.most is None else min(total, self.most))

    def _end(self, done: int) -> float:
        """Seconds of the evaluations that are still to come, but those that follow every epoch."""
        times = 1 if self.validations is None else self.validations and max(1, self.validations - self._evaluated)
        return (times + self.final_share) * self.evaluation
