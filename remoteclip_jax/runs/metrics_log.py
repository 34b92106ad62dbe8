"""`metrics.jsonl`: one JSON object a line, appended as training goes, and the order of checkpoints."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from remoteclip_jax.errors import UserError
from remoteclip_jax.files.json_files import schema_mismatch
from remoteclip_jax.files.writing import write_atomically

Row = dict[str, Any]

# What every row has; whatever else it has is a number too.
ROW_FIELDS = {
    "step": int,
    "epoch": int,
    "loss": float,
    "learning_rate": float,
    "iterations_per_sec": float,
    "seconds": float,
}

UNVALIDATED_OFFSET = 1e6  # above any loss that is worth keeping
Ranking = Callable[[Mapping[str, Any]], float]


def checkpoint_ranking(ranking: Ranking) -> Ranking:
    """The order of checkpoints by their metrics, the lower the better: that of `ranking`, and last of all, the latest
    first, the checkpoints that are made within an epoch (`partial`), for a run that is killed."""
    return lambda metrics: 1e3 * UNVALIDATED_OFFSET - float(metrics["step"]) if "partial" in metrics else ranking(metrics)


def read_rows(path: Path) -> list[Row]:
    """All rows; a line cut off by a kill is left out. UserError where another line is broken."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            problem = schema_mismatch(row, ROW_FIELDS) or schema_mismatch(row, {str: float})
        except (ValueError, RecursionError):
            problem = "no JSON object"
        if problem is None:
            rows.append(row)
        elif number < len(lines):
            raise UserError(f"{path}, line {number}: {problem}")
    return rows


def drop_rows_after(path: Path, step: int) -> None:
    """Remove what was logged after `step`: the resumed run will log it again."""
    rows = [row for row in read_rows(path) if row["step"] <= step]
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))


def append_row(path: Path, row: Row) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
