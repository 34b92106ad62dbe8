"""The score thresholds of a run, as `thresholds.json` keeps them."""

import dataclasses
import json

from remoteclip_jax.detector.thresholds import Thresholds
from remoteclip_jax.errors import UserError
from remoteclip_jax.files.json_files import read_json
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.runs.directory import RunDirectory

_SCHEMA = {"overall": float, "f1": float, "per_class": {str: float}, "split": str}


def write_thresholds(run: RunDirectory, thresholds: Thresholds) -> None:
    """Keep `thresholds` in the run, in place of earlier ones."""
    write_atomically(run.thresholds, json.dumps(dataclasses.asdict(thresholds), indent=2) + "\n")


def read_thresholds(run: RunDirectory) -> Thresholds | None:
    """The thresholds of the run; None if none were fitted. UserError if the file is damaged."""
    if not run.thresholds.exists():
        return None
    content = read_json(run.thresholds, _SCHEMA)
    values = [content["overall"], *content["per_class"].values()]
    if not all(0 <= value <= 1 for value in values):
        raise UserError(f"{run.thresholds} is damaged: a threshold is not between 0 and 1; remove the file")
    return Thresholds(**{name: content[name] for name in _SCHEMA})
