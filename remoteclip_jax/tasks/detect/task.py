"""The interface of the task `detect` to the rest of the program."""

from collections.abc import Mapping
from typing import Any

from remoteclip_jax.runs.metrics_log import UNVALIDATED_OFFSET
from remoteclip_jax.training.task import Task

from . import data, evaluation, workload
from .loading import detector_towers


def ranking(row: Mapping[str, Any]) -> float:
    """The negative validation mAP@50. Without validation it is the training loss, which comes after all validated rows.
    The alignment phase comes last, because nothing is detected in it yet."""
    if "val_map_50" in row:
        return -float(row["val_map_50"])
    return UNVALIDATED_OFFSET * (2 if "align_loss" in row else 1) + float(row["loss"])


TASK = Task(
    read=data.read,
    prepare=workload.prepare,
    evaluation="detection",
    evaluate=evaluation.evaluate,
    describe=evaluation.describe,
    ranking=ranking,
    towers=detector_towers,
    embeds=False,
    purpose="is a detect run, where an align run or converted weights are expected; it is for "
    "python -m remoteclip_jax.detect, eval.py and rc.load_detector",
    eval_settings=(
        *("dataset_format", "classes", "text_embeddings", "templates"),
        *("novel", "image_size", "max_detections", "frozen_tower"),
    ),
)
