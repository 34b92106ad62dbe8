"""The interface of the task `align` to the rest of the program."""

from collections.abc import Mapping
from typing import Any

from remoteclip_jax.evaluation.zero_shot import evaluate_embeddings
from remoteclip_jax.runs.metrics_log import UNVALIDATED_OFFSET
from remoteclip_jax.tasks.loading import run_towers
from remoteclip_jax.training.task import Task

from . import data, evaluation, workload


def ranking(row: Mapping[str, Any]) -> float:
    """The validation loss. (Top-1 would give ties on small validation sets.) Without validation it is the training
    loss, which comes after all validated rows."""
    return float(row["val_loss"]) if "val_loss" in row else UNVALIDATED_OFFSET + float(row["loss"])


TASK = Task(
    read=data.read,
    prepare=workload.prepare,
    evaluation="classification",
    evaluate=evaluation.evaluate,
    describe=evaluation.describe,
    ranking=ranking,
    towers=run_towers,
    embeds=True,
    purpose="is an align run, which classifies images (eval.py) and detects nothing; train.py --task=detect trains a "
    "detector, and takes this run as its --weights",
    eval_settings=("dataset_format", "classes", "text_embeddings", "templates"),
    evaluate_embeddings=evaluate_embeddings,
)
