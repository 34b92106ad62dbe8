"""Accuracy and loss on a split, during training and for runs and converted weights."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.clip.model import CLIP, Variables, one_tower
from remoteclip_jax.clip.preprocess import normalise
from remoteclip_jax.data.splits import VAL, split_role
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError
from remoteclip_jax.evaluation.classification import class_figures, class_lines, classification_sums, means
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.ops.similarity import class_logits
from remoteclip_jax.runs.config import TrainConfig
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
    measure = make_measure(
        model, class_embeddings, temperature, dataset, batch_size=batch_size, image_size=image_size, label=label
    )
    return lambda variables, images=None: means(measure(variables, images))


def make_measure(
    model: CLIP,
    class_embeddings: Float[Array, "k d"],
    temperature: float,
    dataset: Dataset,
    *,
    batch_size: int,
    image_size: int,
    label: str,
) -> Callable[..., dict[str, np.ndarray]]:
    """Like `make_evaluator`, but to the sums of `classification_sums`."""
    check_batch_size(batch_size)
    eval_step = parallel(make_eval_step(model, class_embeddings, temperature))

    def measure(variables: Variables, images: int | None = None) -> dict[str, np.ndarray]:
        image_tower = one_tower(variables, "visual")
        subset = dataclasses.replace(dataset, examples=dataset.examples[:images])
        batches = evaluation_batches(subset, batch_size=batch_size, image_size=image_size, rule=label)
        sums = [eval_step(image_tower, split_batch(batch)) for batch in batches]
        return {name: np.sum([np.asarray(s[name], np.float64) for s in sums], 0) for name in sums[0]}

    return measure


def evaluate(run: RunDirectory, config: TrainConfig | None, settings: EvalSettings) -> dict[str, Any]:
    """Classify a split with the best checkpoint of a run that embeds images, or with converted weights (`config` is
    None). Writes `eval/SPLIT/metrics.json` and `confusion.png` (see `RunDirectory.evaluation`), and returns the content
    of the former."""
    clip = load(run.root)
    held_out = config is not None and config.val_share is not None and settings.data_dir is None
    if held_out and settings.evaluation and split_role(settings.split) == VAL:
        raise UserError(
            f"--split={settings.split}: {run.root} took its validation from its training images; name another split, "
            "or other data with --data_dir"
        )
    split, stored_embeddings = read_evaluation_split(run, config, settings, clip.config.embed_dim, refine)
    data_dir = evaluation_data_dir(run, config, settings)
    dataset = refine(split, data_dir)
    embeddings = evaluation_embeddings(clip, dataset.classes, stored_embeddings, settings.templates)
    defaults = _settings(config, clip)
    sums = make_measure(
        CLIP(clip.config, dtype=jnp.dtype(clip.dtype), axis_name=AXIS),
        jnp.asarray(embeddings),
        defaults.temperature,
        dataset,
        batch_size=settings.batch_size or max(defaults.batch_size, 32),
        image_size=defaults.image_size,
        label=defaults.label,
    )(clip.variables)
    several = round(float(sums["count"] - sums["confusion"].sum()))
    remark = f"{settings.split}: {several} images show several classes, and count in no class's accuracy"
    result = {
        "evaluation": "classification",
        **means(sums),
        **class_figures(sums["confusion"], dataset.classes),
        "images": len(dataset),
        "skipped": len(split) - len(dataset),
        "data_dir": str(data_dir),
        "classes": list(dataset.classes),
        "templates": list(settings.templates or ()),
        "notes": [*dataset.notes, *([remark] if several else [])],
    }
    directory = run.evaluation(settings.split, settings.evaluation)
    directory.mkdir(parents=True, exist_ok=True)
    from remoteclip_jax.evaluation.confusion import confusion_figure  # loads Matplotlib, which training does without

    write_atomically(directory / "confusion.png", confusion_figure(sums["confusion"].astype(int), dataset.classes))
    write_atomically(directory / "metrics.json", json.dumps(result, indent=2) + "\n")
    return result


def _settings(config: TrainConfig | None, clip: RemoteCLIP) -> AlignConfig:
    """The settings of an `align` run, or the defaults at the image size of another run or of weights."""
    if isinstance(config, AlignConfig):
        return config
    image_size = config.image_size if config else clip.config.image_size
    return AlignConfig(image_size=image_size)


def describe(result: dict[str, Any]) -> str:
    """A result as text: first the notes on what was dropped or repaired while reading the data, then the figures."""
    shares = "  ".join(f"{name} {100 * result[key]:.2f} %" for name, key in (("top-1", "top1"), ("top-5", "top5")))
    figures = [f"images {result['images']}  {shares}", *class_lines(result), f"loss {result['loss']:.4f}"]
    return "\n".join([*result.get("notes", ()), *figures])
