"""`metrics.jsonl`, to which training appends one JSON object per epoch; and the ranking of checkpoints by metrics."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from remoteclip_jax.errors import UserError
from remoteclip_jax.files.json_files import schema_mismatch
from remoteclip_jax.files.writing import write_atomically

Row = dict[str, Any]

# The fields that every row has. All further fields are numbers.
ROW_FIELDS = {
    "step": int,
    "epoch": int,
    "loss": float,
    "learning_rate": float,
    "iterations_per_sec": float,
    "seconds": float,
}

UNVALIDATED_OFFSET = 1e6  # puts a training loss behind every validation figure; larger than any sensible loss
Ranking = Callable[[Mapping[str, Any]], float]  # of a row; lower is better


def checkpoint_ranking(ranking: Ranking) -> Ranking:
    """The ranking of checkpoints by their metrics, lower is better.

    It is `ranking` for checkpoints made at the end of an epoch. Those made within an epoch (`partial`), for a run that
    is killed, come after all of them, the latest first.
    """

    def rank(metrics: Mapping[str, Any]) -> float:
        return 1e3 * UNVALIDATED_OFFSET - float(metrics["step"]) if "partial" in metrics else ranking(metrics)

    return rank


def read_rows(path: Path) -> list[Row]:
    """All rows; none if there is no file. A last line that a kill cut off is left out. UserError if another line is
    broken."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            problem = schema_mismatch(row, ROW_FIELDS) or schema_mismatch(row, {str: float})
        except (ValueError, RecursionError):
            problem = "not a JSON object"
        if problem is None:
            rows.append(row)
        elif number < len(lines):
            raise UserError(f"{path}, line {number}: {problem}")
    return rows


def drop_rows_after(path: Path, step: int) -> None:
    """Remove the rows after `step`, which a resumed run will log again."""
    rows = [row for row in read_rows(path) if row["step"] <= step]
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))


def append_row(path: Path, row: Row) -> None:
    """Append one row."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
