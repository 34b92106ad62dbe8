"""Where the files of a run lie: the one place that knows."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunDirectory:
    """A run's directory. It is self-contained: evaluation and inference need nothing beside it but images."""

    root: Path

    @classmethod
    def new(cls, task: str) -> "RunDirectory":
        """`runs/TASK-DATE-TIME`, with a number behind it where two runs start in the same second."""
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
    def frozen(self) -> Path:
        """The text tower as weights, stored once; absent where the run was given text embeddings instead."""
        return self.root / "text_tower"

    @property
    def text_embeddings(self) -> Path:
        """The class names and the embeddings that the run trained against."""
        return self.root / "text_embeddings.npz"

    @property
    def data(self) -> Path:
        """Drawn data, where the run was given none."""
        return self.root / "data"

    @property
    def summary(self) -> Path:
        """Facts for the report: images, classes, parameters, device, versions."""
        return self.root / "summary.json"

    @property
    def report(self) -> Path:
        return self.root / "report.md"

    @property
    def curve(self) -> Path:
        return self.root / "loss.png"

    @property
    def lock(self) -> Path:
        """Held by the process that trains here (see `run_lock`); the file alone means nothing."""
        return self.root / ".lock"

    def is_run(self) -> bool:
        """Whether this is the directory of a training run, and not of converted weights."""
        return self.metrics.exists() or self.checkpoints.is_dir()

    def has_begun(self) -> bool:
        """Whether training has logged or saved anything."""
        saved = self.checkpoints.is_dir() and any(path.name.isdigit() for path in self.checkpoints.iterdir())
        return saved or (self.metrics.exists() and self.metrics.stat().st_size > 0)

    def clear(self) -> None:
        """Remove what was prepared for a run that has not begun; drawn data stay, for they know their own settings."""
        shutil.rmtree(self.frozen, ignore_errors=True)
        for path in (self.text_embeddings, self.summary, self.config):
            path.unlink(missing_ok=True)

    def evaluated(self) -> bool:
        """Whether any split has been evaluated."""
        return any(self.root.glob("eval/*/metrics.json"))

    def evaluation(self, split: str) -> Path:
        return self.root / "eval" / split
