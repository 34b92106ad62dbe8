"""Retrieval with stored embeddings, from this program or another; and a result of retrieval in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from remoteclip_jax.errors import UserError
from remoteclip_jax.evaluation.retrieval import CUTOFFS, recalls, recalls_at_random, retrieval_ranks
from remoteclip_jax.files.npz import as_finite_float32, load_arrays


def evaluate_embeddings(path: Path, templates: Sequence[str] | None = None) -> dict[str, Any]:
    """`retrieval_figures` of the embeddings in an npz file: `image_embeddings[N, D]`, `text_embeddings[M, D]` and
    `image_of_text[M]`, counted from 0. UserError if the file lacks something or its shapes disagree. (There are no
    `templates`.)"""
    names = ("image_embeddings", "text_embeddings")
    arrays = load_arrays(path, (*names, "image_of_text"))
    images, texts = (as_finite_float32(arrays[name], f"{path}: {name}") for name in names)
    image_of_text = arrays["image_of_text"]
    if (
        images.ndim != 2
        or texts.ndim != 2
        or images.shape[1] != texts.shape[1]
        or image_of_text.shape != texts.shape[:1]
    ):
        raise UserError(
            f"{path}: image_embeddings {list(images.shape)}, text_embeddings {list(texts.shape)} and image_of_text "
            f"{list(image_of_text.shape)} do not go together; expected [N, D], [M, D] and [M]"
        )
    if not images.size or not texts.size:
        raise UserError(
            f"{path}: there are {len(images)} images and {len(texts)} texts of {images.shape[1]} dimensions"
        )
    if image_of_text.dtype.kind not in "iu":
        raise UserError(f"{path}: image_of_text must be whole numbers, not {image_of_text.dtype}")
    outside = np.flatnonzero((image_of_text < 0) | (image_of_text >= len(images)))
    if len(outside):
        raise UserError(
            f"{path}: image_of_text[{outside[0]}] is {image_of_text[outside[0]]}, but the {len(images)} images are "
            f"counted from 0 to {len(images) - 1}"
        )
    for name, values in zip(names, (images, texts), strict=True):
        if len(zero := np.flatnonzero(~values.any(-1))):
            raise UserError(f"{path}: {name}[{zero[0]}] is zero, which has no direction")
    return retrieval_figures(images, texts, image_of_text.astype(np.int64))


def retrieval_figures(
    images: Float32[np.ndarray, "n d"], texts: Float32[np.ndarray, "m d"], image_of_text: Int[np.ndarray, " m"]
) -> dict[str, Any]:
    """The recalls, also with ties in random order (`ties_at_random`), the numbers of `images` and `captions`, and
    `notes` on what is to be known about them."""
    ranks = retrieval_ranks(images, texts, image_of_text)
    result, at_random = recalls(*ranks), recalls_at_random(*ranks)
    notes = []
    if without := len(images) - len(np.unique(image_of_text)):
        notes.append(f"{without} images have no caption: they count as not found, and as candidates for the captions")
    if at_random["mean_recall"] - result["mean_recall"] > 5e-5:
        ties = sum(int(np.sum(r.tied > 0)) for r in ranks)
        notes.append(
            f"{ties} images and captions have a wrong answer as similar as the right one, such as the same sentence "
            f"about another image, and ties count as wrong; in random order, as in RemoteCLIP's own script, the mean "
            f"recall is {100 * at_random['mean_recall']:.2f} %"
        )
    counts = {"images": len(images), "captions": len(texts)}
    return {**result, "ties_at_random": at_random, **counts, "notes": notes}


def describe(result: Mapping[str, Any]) -> str:
    """A result as text: first the notes, then the seven figures in percent."""
    lines = [*result.get("notes", ()), f"images {result['images']}  captions {result['captions']}"]
    for words, way in (("image to text", "image_to_text"), ("text to image", "text_to_image")):
        figures = "  ".join(f"R@{k} {100 * result[f'{way}_recall_{k}']:.2f} %" for k in CUTOFFS)
        lines.append(f"{words}  {figures}")
    return "\n".join([*lines, f"mean recall {100 * result['mean_recall']:.2f} %"])
