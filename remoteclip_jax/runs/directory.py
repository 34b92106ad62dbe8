"""The paths of a run's files, defined in this one place."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunDirectory:
    """A run's directory. It is self-contained: besides it, evaluation and inference need only images."""

    root: Path

    @classmethod
    def new(cls, task: str) -> "RunDirectory":
        """`runs/TASK-DATE-TIME`, with a number appended if two runs start in the same second."""
        stem = f"{task}-{time.strftime('%Y%m%d-%H%M%S')}"
        names = (stem, *(f"{stem}-{i}" for i in range(2, 1000)))
        return cls(next(path for name in names if not (path := Path("runs", name)).exists()))

    @property
    def config(self) -> Path:
        return self.root / "config.json"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def text_tower(self) -> Path:
        """The frozen text tower as weights. Absent if the run was given text embeddings instead."""
        return self.root / "text_tower"

    @property
    def frozen_tower(self) -> Path:
        """The image tower that a detector started from, as weights: what it sees in regions of prompts that were not
        trained on. Absent if the run started at random, or from another detector without one."""
        return self.root / "frozen_tower"

    @property
    def text_embeddings(self) -> Path:
        """The class names and the embeddings that the run trains against."""
        return self.root / "text_embeddings.npz"

    @property
    def data(self) -> Path:
        """Synthetic data, if the run was given no data."""
        return self.root / "data"

    @property
    def summary(self) -> Path:
        """Facts for the report: images, classes, parameters, device, versions."""
        return self.root / "summary.json"

    @property
    def thresholds(self) -> Path:
        """The score thresholds that were fitted to the validation split. Absent if there is none."""
        return self.root / "thresholds.json"

    @property
    def report(self) -> Path:
        return self.root / "report.md"

    @property
    def curve(self) -> Path:
        return self.root / "loss.png"

    @property
    def lock(self) -> Path:
        """Locked by the process that trains here (see `files.lock`). The file alone means nothing."""
        return self.root / ".lock"

    def is_run(self) -> bool:
        """Whether this is the directory of a training run, rather than of converted weights."""
        return self.metrics.exists() or self.checkpoints.is_dir()

    def has_begun(self) -> bool:
        """Whether training has logged or saved anything."""
        saved = self.checkpoints.is_dir() and any(path.name.isdigit() for path in self.checkpoints.iterdir())
        return saved or (self.metrics.exists() and self.metrics.stat().st_size > 0)

    def clear(self) -> None:
        """Remove what was prepared for a run that has not begun. Synthetic data stay: they record the settings that
        they were made with, and are checked against these."""
        for folder in (self.text_tower, self.frozen_tower):
            shutil.rmtree(folder, ignore_errors=True)
        for path in (self.text_embeddings, self.summary, self.thresholds, self.config):
            path.unlink(missing_ok=True)

    def has_evaluation(self) -> bool:
        """Whether any split has been evaluated."""
        return any(self.root.glob("eval/*/metrics.json"))

    def evaluation(self, split: str, other: str | None = None) -> Path:
        """The folder for the evaluation on `split`: `eval/SPLIT`, or, for an `other` than the run's own evaluation,
        `eval/SPLIT-OTHER`, so that neither overwrites the other."""
        return self.root / "eval" / (f"{split}-{other}" if other else split)
