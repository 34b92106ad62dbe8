"""Facts about a run for its report, in addition to its settings and metrics."""

import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from remoteclip_jax.data.types import Dataset
from remoteclip_jax.files.json_files import Partial, read_json
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.runs.data import RunData, fingerprints
from remoteclip_jax.runs.directory import RunDirectory


def write_summary(run: RunDirectory, data: RunData, params: dict[str, Any], frozen: Mapping[str, int]) -> None:
    """Write classes, images, notes, parameter counts, device and versions.

    `params` are the parameters in the training state. `frozen` are the counts of other parameters, by name. These are
    known only at the run's first start, so later starts keep the stored counts.
    """
    if run.has_begun() and run.summary.exists():
        counts = json.loads(run.summary.read_text())["parameters"]
    else:
        counts = {name: int(sum(np.size(x) for x in jax.tree.leaves(p))) for name, p in params.items()} | dict(frozen)
    device = jax.local_devices()[0]
    summary = {
        "classes": list(data.classes),
        "images": {d.split: len(d) for d in (data.train, data.val) if d},
        "fingerprints": fingerprints(data),
        "image_side": usual_side(data.train),
        "notes": list(data.notes),
        "parameters": counts,
        "device": f"{jax.local_device_count()} × {device.device_kind} ({device.platform})",
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "flax", "optax", "orbax-checkpoint")},
    }
    write_atomically(run.summary, json.dumps(summary, indent=2) + "\n")


def usual_side(train: Dataset) -> int:
    """The median of the longer sides of the training images, in pixels: the scale at which objects are learned."""
    return round(float(np.median([max(example.width, example.height) for example in train.examples])))


def read_usual_side(run: RunDirectory) -> int | None:
    """The `usual_side` of the run's training images; None if the run is older than that. UserError if its summary is
    damaged."""
    if not run.summary.exists():
        return None
    side: int | None = read_json(run.summary, Partial({"image_side": int})).get("image_side")
    return side


def has_validation(run: RunDirectory) -> bool:
    """Whether the run was validated on a split; True if there is no summary to say so. UserError if that is damaged."""
    return not run.summary.exists() or len(read_json(run.summary, {"images": {str: int}})["images"]) > 1
