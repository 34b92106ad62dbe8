"""The task `align`, as the rest of the program sees it."""

from collections.abc import Mapping
from typing import Any

from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.metrics_log import UNVALIDATED_OFFSET, Row
from remoteclip_jax.tasks.loading import run_towers
from remoteclip_jax.training.task import Task

from . import data, evaluation, workload
from .config import AlignConfig


def ranking(row: Mapping[str, Any]) -> float:
    """The validation loss (not top-1: small validation sets tie on it); where nothing was validated, the training loss,
    behind everything that was."""
    return float(row["val_loss"]) if "val_loss" in row else UNVALIDATED_OFFSET + float(row["loss"])


def report(run: RunDirectory, config: AlignConfig, rows: list[Row]) -> list[Any]:
    """The parts of the report. Plotting is loaded when a report is written."""
    from .report import report

    return report(run, config, rows, ranking)


TASK = Task(
    read=data.read,
    prepare=workload.prepare,
    evaluate=evaluation.evaluate,
    describe=evaluation.describe,
    report=report,
    ranking=ranking,
    towers=run_towers,
    embeds=True,
    purpose="is an align run, which classifies images (eval.py) and detects nothing; train.py --task=detect trains a "
    "detector, and takes this run as its --weights",
)
