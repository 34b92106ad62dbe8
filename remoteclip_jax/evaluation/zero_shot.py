"""Zero-shot classification of stored image embeddings, from this program or another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from remoteclip_jax.errors import UserError
from remoteclip_jax.evaluation.classification import class_figures, classification_sums, means
from remoteclip_jax.files.npz import as_finite_float32, as_strings, load_arrays
from remoteclip_jax.ops.similarity import class_logits, l2_normalise


def ensemble(text_embeddings: Float[Array, "t k d"]) -> Float[Array, "k d"]:
    """Class embeddings from those of several templates: normalised, averaged, and normalised again
    (Radford et al. 2021, section 3.1.4)."""
    return l2_normalise(l2_normalise(text_embeddings).mean(0))


def classify(
    images: Float[Array, "n d"], labels: Int[Array, " n"], classes: Float[Array, "k d"], temperature: float
) -> dict[str, Array]:
    """The sums of `classification_sums` for image embeddings and class embeddings."""
    target = jnp.eye(len(classes))[labels]
    logits = class_logits(images, classes, temperature)
    return classification_sums(logits, target, target > 0, jnp.ones(len(labels), bool))


def evaluate_embeddings(path: Path, templates: Sequence[str] | None, temperature: float = 0.07) -> dict[str, Any]:
    """Accuracy for the embeddings in an npz file, also by class (see `class_figures`), and the number of `images`.

    The file has `image_embeddings[N, D]`, `labels[N]`, `templates[T]` and `text_embeddings[T, K, D]`, and may have
    `class_names[K]`. `templates` names those to use; None means all. UserError if the file lacks something, its shapes
    disagree, or a template is missing.
    """
    keys = ("image_embeddings", "labels", "templates", "text_embeddings")
    arrays = load_arrays(path, keys, ("class_names",), "; embeddings of captions are for --task=retrieval")
    images, texts = (
        as_finite_float32(arrays[name], f"{path}: {name}") for name in ("image_embeddings", "text_embeddings")
    )
    labels, stored = arrays["labels"], as_strings(arrays["templates"], f"{path}: templates")
    if labels.dtype.kind not in "iu":
        raise UserError(f"{path}: labels must be whole numbers, not {labels.dtype}")
    if images.ndim != 2 or texts.ndim != 3 or images.shape[1] != texts.shape[2] or labels.shape != images.shape[:1]:
        raise UserError(
            f"{path}: image_embeddings {list(images.shape)}, labels {list(labels.shape)} and text_embeddings "
            f"{list(texts.shape)} do not go together; expected [N, D], [N] and [T, K, D]"
        )
    if len(stored) != len(texts) or not len(labels) or not (0 <= labels.min() <= labels.max() < texts.shape[1]):
        raise UserError(f"{path}: templates or labels do not go with text_embeddings {list(texts.shape)}")
    missing = [template for template in templates or () if template not in stored]
    if missing:
        raise UserError(f"{path} has no template {missing[0]!r}; it has {len(stored)}, such as {stored[0]!r}")
    rows = np.array([stored.index(template) for template in templates or stored])
    classes = ensemble(jnp.asarray(texts[rows]))
    sums = classify(jnp.asarray(images), jnp.asarray(labels, jnp.int32), classes, temperature)
    figures = class_figures(np.asarray(sums["confusion"]), _class_names(path, arrays, texts.shape[1]))
    return {**means(sums), **figures, "images": len(labels)}


def _class_names(path: Path, arrays: dict[str, np.ndarray], count: int) -> tuple[str, ...]:
    """The names in the file, or numbers from 0 if there are none."""
    if "class_names" not in arrays:
        return tuple(f"class {i}" for i in range(count))
    names = as_strings(arrays["class_names"], f"{path}: class_names")
    if len(set(names)) != count:
        raise UserError(f"{path}: {len(set(names))} different class_names do not go with {count} classes")
    return names
