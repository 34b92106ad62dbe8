"""The number of steps of a training: fixed at the start, or fitted to a time and adjusted as the pace becomes known.

Every fit, and the step after which it was made, is stored in the run's configuration. A resumed run repeats these fits
at the same steps and makes no new ones. So it ends like an uninterrupted run.
"""

import dataclasses
from pathlib import Path

from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.training.timing import Fit


class Plan:
    """`total` steps, the first `first_steps` of them in the first phase. Both may change after a step.

    With a `fit` the plan follows it, and saves every change in the configuration at `path`. Without one it follows
    the fits that the configuration stores. `done` is the number of steps done so far.
    """

    def __init__(self, config: TrainConfig, path: Path, done: int, fit: Fit | None = None) -> None:
        assert config.total_steps is not None
        self._config, self._path, self._fit = config, path, fit
        past = [entry for entry in config.fits if entry[0] <= done]
        self._ahead = {entry[0]: entry for entry in config.fits if entry[0] > done}
        current = past[-1] if past else (0, config.total_steps, config.first_steps)
        self.total, self.first_steps = current[1:]

    def after_step(self, done: int, *, ended: bool) -> bool:
        """Update the plan after step `done`. Returns whether it has changed. `ended` says that the device was waited
        for: only then does the clock tell the pace."""
        if self._fit is None:
            if done not in self._ahead:
                return False
            _, self.total, self.first_steps = self._ahead.pop(done)
            return True
        new_phase = done == 1 or done == self.first_steps + 1
        if not self._fit.after_step(done <= self.first_steps, new_phase=new_phase, ended=ended):
            return False
        total, first_steps = self._fit.step_counts(done, self.first_steps)
        if (total, first_steps) == (self.total, self.first_steps):
            return False
        self.total, self.first_steps = total, first_steps
        fits = (*self._config.fits, (done, total, first_steps))
        self._config = dataclasses.replace(self._config, total_steps=total, first_steps=first_steps, fits=fits)
        self._config.save(self._path)
        return True

    def record_evaluation(self, seconds: float) -> None:
        """Take note of how long an evaluation took."""
        if self._fit is not None:
            self._fit.record_evaluation(seconds)
            self._fit.pause()
