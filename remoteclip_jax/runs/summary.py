"""Facts about a run for its report, besides its settings and its metrics."""

import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.runs.data import RunData, fingerprints
from remoteclip_jax.runs.directory import RunDirectory


def write_summary(run: RunDirectory, data: RunData, params: dict[str, Any], frozen: Mapping[str, int]) -> None:
    """Write classes, images, notes, parameters, device and versions. `params` are those that train; `frozen` are the
    numbers of other parameters at the run's first start, which later starts keep."""
    if run.has_begun() and run.summary.exists():
        sizes = json.loads(run.summary.read_text())["parameters"]
    else:
        sizes = {name: int(sum(np.size(x) for x in jax.tree.leaves(p))) for name, p in params.items()} | dict(frozen)
    device = jax.local_devices()[0]
    summary = {
        "classes": list(data.classes),
        "images": {d.split: len(d) for d in (data.train, data.val) if d},
        "fingerprints": fingerprints(data),
        "notes": list(data.notes),
        "parameters": sizes,
        "device": f"{jax.local_device_count()} × {device.device_kind} ({device.platform})",
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "flax", "optax", "orbax-checkpoint")},
    }
    write_atomically(run.summary, json.dumps(summary, indent=2) + "\n")
