"""Top-1 and top-5 accuracy and loss on a split, during training and for runs and converted weights."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from remoteclip_jax.clip.model import CLIP, Variables, one_tower
from remoteclip_jax.clip.preprocess import normalise
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.evaluation.classification import classification_sums
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.ops.similarity import class_logits
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.evaluation_data import (
    EvalSettings,
    evaluation_data_dir,
    evaluation_embeddings,
    read_evaluation_split,
)
from remoteclip_jax.runtime.devices import AXIS, check_batch_size, parallel, split_batch
from remoteclip_jax.tasks.loading import load

from .batches import evaluation_batches
from .config import AlignConfig
from .data import refine

Metrics = dict[str, float]


def make_eval_step(
    model: CLIP, class_embeddings: Float[Array, "k d"], temperature: float
) -> Callable[[Variables, dict[str, Any]], dict[str, Array]]:
    """A function from variables and a batch (see `evaluation_batches`) to the sums of `classification_sums`, over all
    devices."""

    def eval_step(variables: Variables, batch: dict[str, Any]) -> dict[str, Array]:
        embeddings = jnp.asarray(model.apply(variables, normalise(batch["image"]), method="encode_image"))
        logits = class_logits(embeddings, class_embeddings, temperature)
        sums = classification_sums(logits, batch["target"], batch["classes"], batch["valid"])
        return jax.lax.psum(sums, model.axis_name) if model.axis_name else sums

    return eval_step


def make_evaluator(
    model: CLIP,
    class_embeddings: Float[Array, "k d"],
    temperature: float,
    dataset: Dataset,
    *,
    batch_size: int,
    image_size: int,
    label: str,
) -> Callable[..., Metrics]:
    """A function from variables to the mean `loss`, `top1` and `top5` over `dataset`. A second argument restricts it to
    so many images. It is compiled once."""
    check_batch_size(batch_size)
    eval_step = parallel(make_eval_step(model, class_embeddings, temperature))

    def evaluate(variables: Variables, images: int | None = None) -> Metrics:
        image_tower = one_tower(variables, "visual")
        subset = dataclasses.replace(dataset, examples=dataset.examples[:images])
        batches = evaluation_batches(subset, batch_size=batch_size, image_size=image_size, rule=label)
        sums = [eval_step(image_tower, split_batch(batch)) for batch in batches]
        totals = {name: float(np.sum([np.asarray(s[name]) for s in sums])) for name in sums[0]}
        return {name: totals[name] / totals["count"] for name in ("top1", "top5", "loss")}

    return evaluate


def evaluate(run: RunDirectory, config: AlignConfig | None, settings: EvalSettings) -> dict[str, Any]:
    """Classify a split with the run's best checkpoint, or with converted weights (`config` is None). Writes
    `eval/SPLIT/metrics.json` and returns its content."""
    clip = load(run.root)
    split, stored_embeddings = read_evaluation_split(run, config, settings, clip.config.embed_dim, refine)
    data_dir = evaluation_data_dir(run, config, settings)
    dataset = refine(split, data_dir)
    embeddings = evaluation_embeddings(clip, dataset.classes, stored_embeddings, settings.templates)
    defaults = config or AlignConfig(image_size=clip.config.image_size)
    evaluate_variables = make_evaluator(
        CLIP(clip.config, dtype=jnp.dtype(clip.dtype), axis_name=AXIS),
        jnp.asarray(embeddings),
        defaults.temperature,
        dataset,
        batch_size=settings.batch_size or max(defaults.batch_size, 32),
        image_size=defaults.image_size,
        label=defaults.label,
    )
    result = {
        **evaluate_variables(clip.variables),
        "images": len(dataset),
        "skipped": len(split) - len(dataset),
        "data_dir": str(data_dir),
        "classes": list(dataset.classes),
        "templates": list(settings.templates or ()),
        "notes": list(dataset.notes),
    }
    directory = run.evaluation(settings.split)
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / "metrics.json", json.dumps(result, indent=2) + "\n")
    return result


def describe(result: dict[str, Any]) -> str:
    """A result as text: first the notes on what was dropped or repaired while reading the data, then the figures."""
    shares = "  ".join(f"{name} {100 * result[key]:.2f} %" for name, key in (("top-1", "top1"), ("top-5", "top5")))
    return "\n".join([*result.get("notes", ()), f"images {result['images']}  {shares}", f"loss {result['loss']:.4f}"])
