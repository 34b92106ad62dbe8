"""What a task is to the rest of the program: the functions that its folder offers (see `tasks.registry`)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.evaluation.markup import Picture
from remoteclip_jax.runs.data import RunData
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.evaluation_data import EvalSettings
from remoteclip_jax.runs.metrics_log import Ranking, Row
from remoteclip_jax.training.workload import Workload


@dataclass(frozen=True, eq=False)
class Task:
    """The parts of a task.

    `read(config, run)` reads the data of a training. `prepare(config, run, data, begun)` makes what is trained, where
    `begun` says that a checkpoint holds the variables. `evaluate(run, config, settings)` is what `eval.py` does with a
    run, or with converted weights, for which `config` is None; `describe` puts its result into words. `report(run,
    config, rows)` gives the parts of the report. `ranking` makes one row of the metrics better than another, the lower
    the better.

    `towers(path)` is the CLIP inside a run of this task, from its best checkpoint, for another training to start from;
    where `embeds`, for users as well. `purpose` says what its runs are for, where another kind of run was expected.
    `eval_settings` are the settings that `evaluate` knows besides the common ones.
    """

    read: Callable[[Any, RunDirectory], RunData]
    prepare: Callable[[Any, RunDirectory, RunData, bool], Workload]
    evaluate: Callable[[RunDirectory, Any, EvalSettings], dict[str, Any]]
    describe: Callable[[dict[str, Any]], str]
    report: Callable[[RunDirectory, Any, list[Row]], list[str | Picture]]
    ranking: Ranking
    towers: Callable[[Path], RemoteCLIP]
    embeds: bool
    purpose: str
    eval_settings: tuple[str, ...] = ()
