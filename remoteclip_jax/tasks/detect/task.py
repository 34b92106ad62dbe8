"""The task `detect`, as the rest of the program sees it."""

from collections.abc import Mapping
from typing import Any

from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.metrics_log import UNVALIDATED_OFFSET, Row
from remoteclip_jax.training.task import Task

from . import data, evaluation, workload
from .config import DetectConfig
from .loading import detector_towers


def ranking(row: Mapping[str, Any]) -> float:
    """The validation's mAP@50, turned round; where nothing was validated, the training loss, behind everything that
    was, and last what the first phase learns before anything is detected."""
    if "val_map_50" in row:
        return -float(row["val_map_50"])
    return UNVALIDATED_OFFSET * (2 if "align_loss" in row else 1) + float(row["loss"])


def report(run: RunDirectory, config: DetectConfig, rows: list[Row]) -> list[Any]:
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
    towers=detector_towers,
    embeds=False,
    purpose="is a detect run, where an align run or converted weights are expected; it is for "
    "python -m remoteclip_jax.detect, eval.py and rc.load_detector",
    eval_settings=("novel", "image_size", "max_detections"),
)
