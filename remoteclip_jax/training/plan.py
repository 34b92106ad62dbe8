"""How many steps a training has: fixed beforehand, or fitted to a time, and then anew as the pace becomes known.

What was fitted, and after which step, stands in the run's configuration. A resumed run repeats it at the same steps and
fits nothing more, so that it ends as an unbroken one.
"""

import dataclasses
from pathlib import Path

from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.training.timing import Fit

Fits = tuple[tuple[int, int, int], ...]  # (after this step, steps in all, of which of the first phase)


class Plan:
    """`total` steps, of which the first `first_steps` make the first phase; both may change after a step. With a `fit`,
    that decides, and every decision is saved in the configuration at `path`."""

    def __init__(self, config: TrainConfig, path: Path, done: int, fit: Fit | None = None) -> None:
        assert config.total_steps is not None
        self._config, self._path, self._fit = config, path, fit
        before = [entry for entry in config.fits if entry[0] <= done]
        self._ahead = {entry[0]: entry for entry in config.fits if entry[0] > done}
        last = before[-1] if before else (0, config.total_steps, config.first_steps)
        self.total, self.first_steps = last[1:]

    def after_step(self, done: int) -> bool:
        """Whether the plan is another one from here on, step `done` having ended."""
        if self._fit is None:
            if done not in self._ahead:
                return False
            _, self.total, self.first_steps = self._ahead.pop(done)
            return True
        changed = done == 1 or done == self.first_steps + 1
        if not self._fit.after_step(done, done <= self.first_steps, changed=changed):
            return False
        total, first_steps = self._fit.steps(done, self.first_steps)
        if (total, first_steps) == (self.total, self.first_steps):
            return False
        self.total, self.first_steps = total, first_steps
        fits = (*self._config.fits, (done, total, first_steps))
        self._config = dataclasses.replace(self._config, total_steps=total, first_steps=first_steps, fits=fits)
        self._config.save(self._path)
        return True

    def evaluated(self, seconds: float) -> None:
        """Take in that an evaluation took so long."""
        if self._fit is not None:
            self._fit.evaluated(seconds)
            self._fit.pause()
