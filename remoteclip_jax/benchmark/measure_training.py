"""A whole training within a given time: what it reaches, and what its start takes of that time."""

import json
import statistics
from collections.abc import Iterator
from typing import Any

from remoteclip_jax.benchmark.measure import Place, about
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.metrics_log import read_rows
from remoteclip_jax.tasks.configuration import load_config
from remoteclip_jax.tasks.training import train

TRAINING_SHARE = 0.85  # of the time; the rest is for a start and an end that take longer than they were fitted to


def training(settings: dict[str, Any], place: Place) -> Iterator[dict[str, Any]]:
    """Train with `--max_minutes` within the time of `place`, as `train.py` does, and tell the result."""
    assert place.seconds is not None
    minutes = round(TRAINING_SHARE * place.seconds / 60, 2)
    yield about() | {"max_minutes": minutes}
    run = RunDirectory(place.folder / "run")
    train({**settings, "max_minutes": minutes}, run.root)
    rows = read_rows(run.metrics)
    # The log's last row was written at the end of the last epoch, and says how long ago the first step began.
    end = run.metrics.stat().st_mtime - place.launched
    config = load_config(run.config)
    yield {
        **{name: getattr(config, name) for name in ("task", "preset", "arch", "batch_size", "image_size", "dtype")},
        "steps": rows[-1]["step"],
        "first_step_sec": end - rows[-1]["seconds"],
        "last_step_sec": end,
        "iterations_per_sec": statistics.median(row["iterations_per_sec"] for row in rows),
        "iterations_per_sec_with_start": rows[-1]["step"] / end,
    }
    if validated := [row for row in rows if "val_map" in row]:
        yield {"split": "val", "map": validated[-1]["val_map"], "map_50": validated[-1]["val_map_50"]}
    for path in run.root.glob("eval/*/metrics.json"):  # that of the test split, if the data have one
        found = json.loads(path.read_text())
        yield {"split": path.parent.name, "map": found["map"], "map_50": found["map_50"]}
