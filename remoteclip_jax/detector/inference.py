"""A trained detector as an immutable value, and the pure function that finds what prompts name in an image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from PIL import Image

from remoteclip_jax.clip.config import CLIPConfig
from remoteclip_jax.clip.inference import RemoteCLIP, class_embeddings
from remoteclip_jax.clip.model import Variables
from remoteclip_jax.clip.prompts import words
from remoteclip_jax.clip.text_embeddings import TextEmbeddings, load_text_embeddings
from remoteclip_jax.data.classes import find
from remoteclip_jax.data.images import to_rgb
from remoteclip_jax.data.windows import whole_squares
from remoteclip_jax.detections import Detections
from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.detector.postprocess import Found, find_objects, to_detections
from remoteclip_jax.errors import UserError

PROMPT_STEP = 8  # prompts are padded to a multiple of this: one compilation for many numbers of them


@dataclass(frozen=True, eq=False)
class TrainedDetector:
    """The detector of a run: `variables` ({"params", "batch_stats"}) of `Detector(clip, config)`.

    Images are predicted whole in a square at each of the sizes `views`; `classes` and their unit-length `embeddings`
    [k, e] are those that it was trained with (or see `with_embeddings`); `text` is the frozen text tower, None where
    the run had none.
    """

    clip: CLIPConfig
    config: DetectorConfig
    variables: Variables
    views: tuple[int, ...]
    classes: tuple[str, ...]
    embeddings: Float[np.ndarray, "k e"]
    text: RemoteCLIP | None


def with_embeddings(detector: TrainedDetector, path: str | Path) -> TrainedDetector:
    """`detector` with the names and embeddings of an npz (`class_names[K]`, `embeddings[K, D]`) in place of the run's.

    UserError where the file is missing or broken, or its embeddings have another dimension than the detector's.
    """
    texts = load_text_embeddings(Path(path), detector.clip.embed_dim)
    return replace(detector, classes=texts.class_names, embeddings=texts.embeddings)


def detect(
    detector: TrainedDetector, image: Image.Image, prompts: Sequence[str] | None = None, score_threshold: float = 0.3
) -> Detections:
    """What `prompts` name in `image`, of any mode: boxes (x1, y1, x2, y2) in its pixels, scores in [0, 1], best first.

    Prompts are words for things ("ship", "storage tank"), None for the classes of the run. At most
    `postprocess.DETECTIONS` objects are found. An image is taken as it lies: `PIL.ImageOps.exif_transpose` turns one
    upright. UserError for prompts that are empty, blank or alike, or that this detector cannot encode.
    """
    return detect_with(detector, image, encode_prompts(detector, prompts), score_threshold)


def encode_prompts(detector: TrainedDetector, prompts: Sequence[str] | None) -> TextEmbeddings:
    """The embeddings of prompts: stored ones for the run's classes, however they are spelt, and else the text tower's.
    UserError as for `detect`."""
    if prompts is None:
        return TextEmbeddings(detector.classes, detector.embeddings)
    if isinstance(prompts, str):  # a sequence of letters
        raise UserError(f"prompts: expected a list of them, such as [{prompts!r}]")
    names = tuple(prompts)
    if not names or not all(map(words, names)):
        problem = "one of them is empty" if names else "none given"
        raise UserError(f'prompts: {problem}; expected words such as "ship,harbor"')
    for i, name in enumerate(names):
        if (first := find(name, names[:i])) is not None:
            raise UserError(f"prompts: {names[first]!r} and {name!r} are the same: give each once")
    stored = [find(name, detector.classes) for name in names]
    unknown = [name for name, index in zip(names, stored, strict=True) if index is None]
    if unknown and detector.text is None:
        raise UserError(
            f"prompt {unknown[0]!r} cannot be encoded: this run has no text tower (it was trained from "
            f"--text_embeddings); stored names: {', '.join(detector.classes)}; or give an npz with --text_embeddings"
        )
    encoded: dict[str, np.ndarray] = {}
    if unknown and detector.text is not None:
        encoded = dict(zip(unknown, np.asarray(class_embeddings(detector.text, unknown)), strict=True))
    pairs = zip(names, stored, strict=True)
    return TextEmbeddings(names, np.stack([encoded[n] if i is None else detector.embeddings[i] for n, i in pairs]))


def detect_with(
    detector: TrainedDetector, image: Image.Image, prompts: TextEmbeddings, score_threshold: float = 0.3,
    full_size: tuple[int, int] | None = None,
) -> Detections:  # fmt: skip
    """As `detect`, with prompts that are encoded already. `full_size` is the size, in pixels, that boxes refer to, for
    an image that was reduced while it was decoded; `image`'s own where it is None."""
    if not min(image.size):
        raise UserError(f"an image of {image.width}x{image.height} pixels: there is nothing to look at")
    squares = jax.device_put([square[None] for square in whole_squares(_rgb(image), detector.views)])
    count = len(prompts.class_names)
    padding = -count % PROMPT_STEP
    texts = np.pad(prompts.embeddings, ((0, padding), (0, 0)))
    known = np.arange(count + padding) < count
    found = _run(detector.clip, detector.config, detector.variables, squares, *jax.device_put((texts, known)))
    return to_detections(found, 0, *(full_size or image.size), prompts.class_names).above(score_threshold)


def _rgb(image: Image.Image) -> Image.Image:
    """`image` in RGB; not a copy where it is already, for it may be of hundreds of megapixels."""
    if image.mode == "RGB":
        return image
    return to_rgb(image.copy() if "transparency" in image.info else image)  # the caller's keeps that entry


@partial(jax.jit, static_argnums=(0, 1))
def _run(
    clip: CLIPConfig, config: DetectorConfig, variables: Variables, views: Sequence[UInt8[Array, "n v v 3"]],
    texts: Float[Array, "k e"], known: Bool[Array, "k"],
) -> Found:  # fmt: skip
    return find_objects(Detector(clip, config), variables, views, texts, known)
