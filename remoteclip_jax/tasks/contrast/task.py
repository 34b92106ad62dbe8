"""The interface of the task `contrast` to the rest of the program."""

from collections.abc import Mapping
from typing import Any

from remoteclip_jax.evaluation.retrieval_file import evaluate_embeddings
from remoteclip_jax.runs.metrics_log import UNVALIDATED_OFFSET
from remoteclip_jax.tasks.loading import run_towers
from remoteclip_jax.training.task import Task

from . import data, evaluation, workload


def ranking(row: Mapping[str, Any]) -> float:
    """The mean recall of the validation, negated. Without validation it is the training loss, which comes after all
    validated rows."""
    if "val_mean_recall" in row:
        return -float(row["val_mean_recall"])
    return UNVALIDATED_OFFSET + float(row["loss"])


TASK = Task(
    read=data.read,
    prepare=workload.prepare,
    evaluation="retrieval",
    evaluate=evaluation.evaluate,
    describe=evaluation.describe,
    ranking=ranking,
    towers=run_towers,
    embeds=True,
    purpose="is a contrast run, which embeds images and texts (eval.py) and detects nothing; train.py --task=detect "
    "trains a detector, and takes this run as its --weights",
    eval_settings=("captions",),
    evaluate_embeddings=evaluate_embeddings,
)
