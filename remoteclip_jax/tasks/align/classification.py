"""Top-1, top-5 and loss of a split, and the classes to measure them against."""

import dataclasses
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
from remoteclip_jax.ops.similarity import class_logits
from remoteclip_jax.runtime.devices import check_batch_size, parallel, split_batch
from remoteclip_jax.tasks.align.batches import evaluation_batches

Metrics = dict[str, float]


def make_eval_step(
    model: CLIP, class_embeddings: Float[Array, "k d"], temperature: float
) -> Callable[[Variables, dict[str, Any]], dict[str, Array]]:
    """Variables and a batch (see `evaluation_batches`) to the sums of `classification_sums`, over all devices."""

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
    """A function from variables, and how many of the first images (None: all), to the mean `loss`, `top1` and `top5`
    over these images of `dataset`; compiled once."""
    check_batch_size(batch_size)
    eval_step = parallel(make_eval_step(model, class_embeddings, temperature))

    def evaluate(variables: Variables, images: int | None = None) -> Metrics:
        image_tower = one_tower(variables, "visual")
        some = dataclasses.replace(dataset, examples=dataset.examples[:images])
        batches = evaluation_batches(some, batch_size=batch_size, image_size=image_size, rule=label)
        sums = [eval_step(image_tower, split_batch(batch)) for batch in batches]
        totals = {name: float(np.sum([np.asarray(s[name]) for s in sums])) for name in sums[0]}
        return {name: totals[name] / totals["count"] for name in ("top1", "top5", "loss")}

    return evaluate
