"""The interface of a task: the functions that its folder offers to the rest of the program (see `tasks.registry`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.runs.data import RunData
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.evaluation_data import EvalSettings
from remoteclip_jax.runs.metrics_log import Ranking
from remoteclip_jax.training.workload import Workload


@dataclass(frozen=True, eq=False)
class Task:
    """The parts of a task.

    - `read(config, run)` reads the data of a training.
    - `prepare(config, run, data, resumed)` returns what is trained. A `resumed` run takes its variables from a
      checkpoint.
    - `evaluation` names what `eval.py` measures of a run: "classification", for example. Tasks with the same measure it
      alike, and `eval.py --task=NAME` chooses another one, if the run `embeds` and the other task's runs do.
    - `evaluate(run, config, settings)` does so. `config` may be that of another task; for converted weights it is None.
      `describe` puts the result into words.
    - `evaluate_embeddings(path, templates)` does so for embeddings in an npz file. None if there is no such thing.
    - `ranking` maps a row of the metrics to a number, lower is better.
    - `towers(path)` is the CLIP inside a run of this task, at its best checkpoint. Other trainings start from it, and
      users load it if `embeds` is set.
    - `purpose` says what a run of this task is for. It completes the error message "PATH …" if another kind of run was
      expected.
    - `eval_settings` names the fields of `EvalSettings` that this task uses and others may not.
    """

    read: Callable[[Any, RunDirectory], RunData]
    prepare: Callable[[Any, RunDirectory, RunData, bool], Workload]
    evaluation: str
    evaluate: Callable[[RunDirectory, Any, EvalSettings], dict[str, Any]]
    describe: Callable[[dict[str, Any]], str]
    ranking: Ranking
    towers: Callable[[Path], RemoteCLIP]
    embeds: bool
    purpose: str
    eval_settings: tuple[str, ...] = ()
    evaluate_embeddings: Callable[[Path, Sequence[str] | None], dict[str, Any]] | None = None
