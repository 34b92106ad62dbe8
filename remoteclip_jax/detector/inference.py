"""A trained detector as an immutable value, its prompts, and the pure function that finds in squares what they name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from remoteclip_jax.clip.config import CLIPConfig
from remoteclip_jax.clip.inference import RemoteCLIP, class_embeddings
from remoteclip_jax.clip.model import Variables
from remoteclip_jax.clip.prompts import words
from remoteclip_jax.clip.text_embeddings import TextEmbeddings, load_text_embeddings
from remoteclip_jax.data.classes import find_class_index
from remoteclip_jax.data.types import Bands
from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.detector.detections import MAX_DETECTIONS
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.detector.postprocess import BatchDetections, find_objects
from remoteclip_jax.detector.regions import FROZEN, NovelPrompts
from remoteclip_jax.detector.thresholds import Thresholds
from remoteclip_jax.errors import UserError

PROMPT_STEP = 8  # the number of prompts is padded to a multiple of this, to compile less often


@dataclass(frozen=True, eq=False)
class TrainedDetector:
    """The detector of a run: `variables` ({"params", "batch_stats"}) of `Detector(clip, config)`.

    It sees an image in a square of each of the sizes `views`: the whole image, or, if that is much larger than `window`
    pixels, the usual side of its training images, overlapping windows of it (None: always the whole). `classes` and
    their unit-length `embeddings` [k, e] are those of its training (or see `with_embeddings`). `text` is the frozen
    text tower, None if the run had none. It computes in `dtype`, the type that the run was trained and evaluated in,
    and finds at most `max_detections` objects in a window. `bands` are the three that it reads from images with more.
    `thresholds` are the score thresholds that were fitted to the run's validation split; None if there are none.

    `trained` are the classes of its training without those that were held out, also where others have taken the place
    of `classes`. If `variables` have a frozen image tower, it scores all prompts but these (see `regions`).
    """

    clip: CLIPConfig
    config: DetectorConfig
    variables: Variables
    views: tuple[int, ...]
    classes: tuple[str, ...]
    embeddings: Float[np.ndarray, "k e"]
    text: RemoteCLIP | None
    dtype: str = "float32"
    max_detections: int = MAX_DETECTIONS
    bands: Bands | None = None
    window: int | None = None
    thresholds: Thresholds | None = None
    trained: TextEmbeddings | None = None

    def novel_names(self, names: Sequence[str]) -> list[str]:
        """Those of the prompts `names` that the frozen image tower scores; none if there is no such tower."""
        if FROZEN not in self.variables or self.trained is None:
            return []
        trained = self.trained.class_names
        return [name for name in names if find_class_index(name, trained) is None]

    def novel(self, prompts: TextEmbeddings) -> tuple[TextEmbeddings, NovelPrompts | None]:
        """Which of `prompts` the frozen image tower scores, among the texts that this takes: the prompts, followed by
        the trained classes that are not among them. None, and the prompts alone, if there are none, or no such tower.
        """
        if FROZEN not in self.variables or self.trained is None:
            return prompts, None
        return novel_prompts(prompts, self.trained)


@lru_cache(maxsize=16)  # asked for every batch
def novel_prompts(prompts: TextEmbeddings, trained: TextEmbeddings) -> tuple[TextEmbeddings, NovelPrompts | None]:
    """As `TrainedDetector.novel`: novel is what is none of the `trained` classes."""
    names = prompts.class_names
    mask = [find_class_index(name, trained.class_names) is None for name in names]
    if not any(mask):
        return prompts, None
    others = [i for i, name in enumerate(trained.class_names) if find_class_index(name, names) is None]
    texts = TextEmbeddings(
        (*names, *(trained.class_names[i] for i in others)),
        np.concatenate([prompts.embeddings, trained.embeddings[others]]),
    )
    asked = np.arange(len(texts.class_names)) < len(names)
    return texts, NovelPrompts(np.array(mask + [False] * len(others)), asked)


def with_embeddings(detector: TrainedDetector, path: str | Path) -> TrainedDetector:
    """`detector` with the classes of an npz file (`class_names[K]`, `embeddings[K, D]`) in place of the run's.

    UserError if the file is missing or broken, or if its embeddings do not have the detector's dimension.
    """
    texts = load_text_embeddings(Path(path), detector.clip.embed_dim)
    return replace(detector, classes=texts.class_names, embeddings=texts.embeddings)


def encode_prompts(detector: TrainedDetector, prompts: Sequence[str] | None) -> TextEmbeddings:
    """The embeddings of prompts: stored ones for the run's classes, whatever their spelling, or the text tower's.

    UserError as for `detect`.
    """
    if prompts is None:
        return TextEmbeddings(detector.classes, detector.embeddings)
    if isinstance(prompts, str):  # would be a sequence of letters
        raise UserError(f"prompts: expected a list of them, such as [{prompts!r}]")
    names = tuple(prompts)
    if not names or not all(map(words, names)):
        problem = "one of them is empty" if names else "none given"
        raise UserError(f'prompts: {problem}; expected words such as "ship,harbor"')
    for i, name in enumerate(names):
        if (first := find_class_index(name, names[:i])) is not None:
            raise UserError(f"prompts: {names[first]!r} and {name!r} are the same: give only one of them")
    stored = [find_class_index(name, detector.classes) for name in names]
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


def find_in_squares(
    detector: TrainedDetector, squares: Sequence[UInt8[np.ndarray, "n _ _ 3"]], prompts: TextEmbeddings
) -> BatchDetections:
    """The detections in a batch of windows, given one array of squares for each view (see `data.windows`).

    They are on the device of the detector's variables, which may still be computing them. A program is compiled for
    each size of the batch.
    """
    prompts, novel = detector.novel(prompts)
    count = len(prompts.class_names)
    padding = -count % PROMPT_STEP
    texts = np.pad(prompts.embeddings, ((0, padding), (0, 0)))
    valid = np.arange(count + padding) < count
    if novel is not None:
        novel = NovelPrompts(*(np.pad(x, (0, padding)) for x in novel))
    static = (detector.clip, detector.config, detector.dtype, detector.max_detections)
    # On a CPU, XLA hands a program whose inputs are still being copied to a thread of its own. There the memory of a
    # step is not kept (see `runtime.memory`): 15,000 page faults for an image of the preset `small`.
    place = jax.tree.leaves(detector.variables)[0]
    device = place.device if isinstance(place, jax.Array) else None
    inputs = jax.block_until_ready(jax.device_put((list(squares), texts, valid, novel), device))
    return _find(*static, detector.variables, *inputs)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _find(
    clip: CLIPConfig,
    config: DetectorConfig,
    dtype: str,
    count: int,
    variables: Variables,
    views: Sequence[UInt8[Array, "n _ _ 3"]],
    texts: Float[Array, "k e"],
    valid: Bool[Array, " k"],
    novel: NovelPrompts | None,
) -> BatchDetections:
    return find_objects(Detector(clip, config, jnp.dtype(dtype)), variables, views, texts, valid, count, novel)
