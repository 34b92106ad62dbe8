"""Loss and accuracy of a classification, as sums that can be added over batches and devices; and what follows from
them."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Real

from remoteclip_jax.ops.similarity import soft_cross_entropy

WORST = 3  # classes that a description names


def classification_sums(
    logits: Float[Array, "n k"], target: Float[Array, "n k"], classes: Bool[Array, "n k"], valid: Bool[Array, " n"]
) -> dict[str, Array]:
    """Sums over the valid rows of a batch: `loss`, the hits `top1` and `top5`, the `count` of rows, and `confusion`
    [k, k], the number of images of each class (row) by the class that was predicted.

    `target` is a distribution over classes, for the loss. `classes` are all classes in an image, of which there may be
    several: each of them is a hit. Such images are not in `confusion`. `valid` is False for padding.
    """
    best = jax.lax.top_k(logits, min(5, logits.shape[-1]))[1]
    hits = jnp.take_along_axis(classes, best, -1) & valid[:, None]
    single = valid & (classes.sum(-1) == 1)
    predicted = jax.nn.one_hot(best[:, 0], logits.shape[-1])
    return {
        "loss": jnp.sum(jnp.where(valid, soft_cross_entropy(logits, target), 0.0)),
        "top1": hits[:, 0].sum(),
        "top5": hits.any(-1).sum(),
        "count": valid.sum(),
        "confusion": (classes & single[:, None]).astype(predicted.dtype).T @ predicted,
    }


def means(sums: Mapping[str, Any]) -> dict[str, float]:
    """The means `top1`, `top5` and `loss` of the sums of `classification_sums`."""
    return {name: float(sums[name]) / float(sums["count"]) for name in ("top1", "top5", "loss")}


def class_figures(confusion: Real[np.ndarray, "k k"], classes: Sequence[str]) -> dict[str, Any]:
    """The accuracy by class: `per_class` (name → `accuracy`, None without images, and their number `n`), its mean
    `mean_per_class_accuracy` over the classes that have images, and `confusion` as a list of rows."""
    counts = confusion.sum(-1)
    per_class = {
        name: {"accuracy": float(confusion[i, i] / counts[i]) if counts[i] else None, "n": int(counts[i])}
        for i, name in enumerate(classes)
    }
    known = [values["accuracy"] for values in per_class.values() if values["accuracy"] is not None]
    return {
        "mean_per_class_accuracy": float(np.mean(known)) if known else None,
        "per_class": per_class,
        "confusion": confusion.astype(int).tolist(),
    }


def class_lines(result: Mapping[str, Any]) -> list[str]:
    """`class_figures` in words: the mean, and the worst classes with what they were taken for."""
    known = {name: values for name, values in result["per_class"].items() if values["n"]}
    if not known:
        return []
    mean = f"mean per-class accuracy {100 * result['mean_per_class_accuracy']:.2f} % ({len(known)} classes)"
    worst = sorted((values["accuracy"], name) for name, values in known.items() if values["accuracy"] < 1)[:WORST]
    if not worst:
        return [mean]
    names = list(result["per_class"])

    def said(accuracy: float, name: str) -> str:
        row = np.array(result["confusion"][names.index(name)])
        row[names.index(name)] = 0
        taken = f"{row.max()} taken for {names[row.argmax()]}"
        return f"{name} {100 * accuracy:.1f} % of {known[name]['n']} ({taken})"

    return [mean, "worst: " + ", ".join(said(*item) for item in worst)]
