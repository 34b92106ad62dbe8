"""The score thresholds of a detector: fitted to its run's validation split, kept in the run, and told in a line."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from remoteclip_jax.data.classes import find_class_index
from remoteclip_jax.data.splits import VAL
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.detector.thresholds import DEFAULT_THRESHOLD, Thresholds
from remoteclip_jax.evaluation.thresholds import best_f1, f1_at
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.summary import has_validation
from remoteclip_jax.runs.thresholds import write_thresholds
from remoteclip_jax.tasks.configuration import load_config

NAMED = 8  # classes whose thresholds a line names


def fit_thresholds(run: RunDirectory, val: Dataset, found: Sequence[Detections]) -> Thresholds | None:
    """Fit the run's thresholds to what was `found` in its validation split, and keep them in the run. If no detection
    is right there are none, and earlier ones are removed."""
    thresholds = best_f1(val, found)
    if thresholds is None:
        run.thresholds.unlink(missing_ok=True)
    else:
        write_thresholds(run, thresholds)
    return thresholds


def without_novel(
    dataset: Dataset, found: Sequence[Detections], novel: Sequence[str]
) -> tuple[Dataset, list[Detections]]:
    """The images of `dataset` that show none of the `novel` classes, and what was found in them of the others: what
    thresholds are fitted to at the end of a training that held these out."""
    labels = [i for i, name in enumerate(dataset.classes) if find_class_index(name, tuple(novel)) is not None]
    kept = [i for i, example in enumerate(dataset.examples) if not np.isin(example.labels, labels).any()]
    trained = []
    for i in kept:
        one, mask = found[i], ~np.isin(found[i].labels, labels)
        trained.append(replace(one, boxes=one.boxes[mask], scores=one.scores[mask], labels=one.labels[mask]))
    return replace(dataset, examples=tuple(dataset.examples[i] for i in kept)), trained


def threshold_facts(thresholds: Thresholds | None, dataset: Dataset, found: Sequence[Detections]) -> dict[str, Any]:
    """For `metrics.json`: the overall `threshold` of the run, and the `f1` in `dataset` of what was `found` above it;
    both are None if the run has no thresholds."""
    if thresholds is None:
        return {"threshold": None, "f1": None}
    return {"threshold": thresholds.overall, "f1": f1_at(dataset, found, thresholds.overall)}


def facts_line(facts: Mapping[str, Any]) -> str:
    """`threshold_facts` in words."""
    if facts["threshold"] is None:
        return f"no score threshold is fitted to the run's validation split: detect takes {DEFAULT_THRESHOLD:g}"
    f1 = "" if facts["f1"] is None else f": F1 {100 * facts['f1']:.1f} %"
    return f"above the run's score threshold of {facts['threshold']:.2g}{f1}"


def threshold_line(
    thresholds: Thresholds | None, names: Sequence[str], run: RunDirectory, novel: Sequence[str] = ()
) -> str:
    """Which thresholds are used for the prompts `names`, and where they come from; `novel` ones were not trained on."""
    other = "--score_threshold=… for another"
    if novel and thresholds is not None:
        names = [name for name in names if name not in novel]
        asked = f"{', '.join(novel[:NAMED])}{' and others' if len(novel) > NAMED else ''}"
        unfitted = f"{DEFAULT_THRESHOLD:g} for {asked}, not trained on, so that none could be fitted"
        return (
            f"{threshold_line(thresholds, names, run)}; {unfitted}"
            if names
            else f"score threshold {unfitted} ({other})"
        )
    if thresholds is not None:
        own = {name: value for name, value in thresholds.by_name(names).items() if value != thresholds.overall}
        parts = [f"{name} {value:.2g}" for name, value in own.items()]
        more = [f"and {len(parts) - NAMED} more in {run.thresholds.name}"] if len(parts) > NAMED else []
        by_class = f"; by class: {', '.join([*parts[:NAMED], *more])}" if parts else ""
        f1 = f"best F1 on {thresholds.split}, {100 * thresholds.f1:.1f} %"
        return f"score threshold {thresholds.overall:.2g} ({f1}{by_class}; {other})"
    if has_validation(run):
        root, split = shlex.quote(str(run.root)), shlex.quote(load_config(run.config).val_split or VAL)
        remedy = f"eval.py --workdir={root} --split={split} fits one to the validation split"
    else:
        remedy = "this run has no validation split to fit one to"
    return f"score threshold {DEFAULT_THRESHOLD:g}, for none was fitted ({remedy}; {other})"
