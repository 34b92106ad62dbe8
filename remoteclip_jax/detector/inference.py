"""A trained detector as an immutable value, and the pure function that finds the objects that prompts name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from PIL import Image

from remoteclip_jax.clip.config import CLIPConfig
from remoteclip_jax.clip.inference import RemoteCLIP, class_embeddings
from remoteclip_jax.clip.model import Variables
from remoteclip_jax.clip.prompts import words
from remoteclip_jax.clip.text_embeddings import TextEmbeddings, load_text_embeddings
from remoteclip_jax.data.classes import find_class_index
from remoteclip_jax.data.image_inputs import ImageInput, as_pil_image
from remoteclip_jax.data.images import to_rgb
from remoteclip_jax.data.types import Bands
from remoteclip_jax.data.windows import image_pyramid
from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.detector.detections import MAX_DETECTIONS, Detections, check_max_detections
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.detector.postprocess import BatchDetections, find_objects, to_detections
from remoteclip_jax.detector.thresholds import Thresholds, thresholds_of
from remoteclip_jax.errors import UserError

PROMPT_STEP = 8  # the number of prompts is padded to a multiple of this, to compile less often


@dataclass(frozen=True, eq=False)
class TrainedDetector:
    """The detector of a run: `variables` ({"params", "batch_stats"}) of `Detector(clip, config)`.

    Whole images are predicted, in a square of each of the sizes `views`. `classes` and their unit-length `embeddings`
    [k, e] are those of its training (or see `with_embeddings`). `text` is the frozen text tower, None if the run had
    none. It computes in `dtype`, the type that the run was trained and evaluated in, and finds at most `max_detections`
    objects in an image. `bands` are the three that it reads from images with more. `thresholds` are the score
    thresholds that were fitted to the run's validation split; None if there are none.
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
    thresholds: Thresholds | None = None


def with_embeddings(detector: TrainedDetector, path: str | Path) -> TrainedDetector:
    """`detector` with the classes of an npz file (`class_names[K]`, `embeddings[K, D]`) in place of the run's.

    UserError if the file is missing or broken, or if its embeddings do not have the detector's dimension.
    """
    texts = load_text_embeddings(Path(path), detector.clip.embed_dim)
    return replace(detector, classes=texts.class_names, embeddings=texts.embeddings)


def detect(
    detector: TrainedDetector,
    image: ImageInput,
    prompts: Sequence[str] | None = None,
    score_threshold: float | None = None,
    max_detections: int | None = None,
) -> Detections:
    """The objects in `image` that `prompts` name: boxes (x1, y1, x2, y2) in its pixels, scores in [0, 1], best first.

    `image` is the path of a file, a PIL image of any mode, or a uint8 array [height, width, 3] or [height, width]. A
    file is turned upright by its EXIF orientation; images and arrays are not (see `PIL.ImageOps.exif_transpose`).
    Prompts are words for things ("ship", "storage tank"); None means the classes of the run. Detections with a score
    below `score_threshold` are left out; None means the detector's own thresholds, by class where it has them, and
    otherwise 0.3. At most `max_detections` objects are found; None means the detector's own number (300). UserError for
    an image that cannot be read, and for prompts that are empty, blank or repeated, or that this detector cannot
    encode.
    """
    if max_detections is not None:
        check_max_detections(max_detections)
        detector = replace(detector, max_detections=max_detections)
    return detect_with(
        detector, as_pil_image(image, detector.bands), encode_prompts(detector, prompts), score_threshold
    )


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


def detect_with(
    detector: TrainedDetector,
    image: Image.Image,
    prompts: TextEmbeddings,
    score_threshold: float | None = None,
    full_size: tuple[int, int] | None = None,
) -> Detections:
    """As `detect`, for an image and prompts that are already decoded and encoded.

    `full_size`, in pixels, is the size that boxes refer to if the image was reduced while it was decoded; None means
    the image's own size.
    """
    squares = [square[None] for square in image_squares(detector, image)]
    found = find_in_squares(detector, squares, prompts)
    detections = to_detections(found, 0, *(full_size or image.size), prompts.class_names)
    own = thresholds_of(detector.thresholds, prompts.class_names)
    return detections.above(own if score_threshold is None else score_threshold)


def image_squares(detector: TrainedDetector, image: Image.Image) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """What the detector sees of `image`: all of it, in a square of each of its views."""
    return image_pyramid(_rgb(image), detector.views)


def find_in_squares(
    detector: TrainedDetector, squares: Sequence[UInt8[np.ndarray, "n _ _ 3"]], prompts: TextEmbeddings
) -> BatchDetections:
    """The detections in a batch of images, given one array of `image_squares` for each view.

    They are on the device, which may still be computing them. A program is compiled for each size of the batch.
    """
    count = len(prompts.class_names)
    padding = -count % PROMPT_STEP
    texts = np.pad(prompts.embeddings, ((0, padding), (0, 0)))
    valid = np.arange(count + padding) < count
    static = (detector.clip, detector.config, detector.dtype, detector.max_detections)
    # On a CPU, XLA hands a program whose inputs are still being copied to a thread of its own. There the memory of a
    # step is not kept (see `runtime.memory`): 15,000 page faults for an image of the preset `small`.
    inputs = jax.block_until_ready(jax.device_put((list(squares), texts, valid)))
    return _find(*static, detector.variables, *inputs)


def _rgb(image: Image.Image) -> Image.Image:
    """`image` in RGB. An RGB image is not copied: it may have hundreds of megapixels."""
    if image.mode == "RGB":
        return image
    return to_rgb(image.copy() if "transparency" in image.info else image)  # it would remove that entry


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
) -> BatchDetections:
    return find_objects(Detector(clip, config, jnp.dtype(dtype)), variables, views, texts, valid, count)
