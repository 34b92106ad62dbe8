"""What is to be detected and with what, as plain values: they are checked without JAX and go to other processes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from remoteclip_jax.data.stretch import Percentiles
from remoteclip_jax.data.tiling import SMALLEST_WINDOW
from remoteclip_jax.data.types import Bands
from remoteclip_jax.data.views import check_size, resized_views
from remoteclip_jax.detector.detections import check_max_detections
from remoteclip_jax.errors import UserError

if TYPE_CHECKING:
    from remoteclip_jax.clip.text_embeddings import TextEmbeddings
    from remoteclip_jax.detector.inference import TrainedDetector

SMALLEST_GSD, LARGEST_GSD = 1e-4, 1e5  # metres


@dataclass(frozen=True)
class DetectionRequest:
    """The run `workdir`, and what is asked of its detector. None means the run's own value.

    `prompts` are words for things, `text_embeddings` is an npz file to use in place of the run's classes, `image_size`
    the pixels of the finest view. Detections with a score below `score_threshold` are left out. `window` is the side in
    pixels of the windows in which large images are searched (0: they are looked at as a whole), and `gsd` the metres
    of a pixel of the training images, for images that say their own (see `detector.searching.find_in_images`).
    """

    workdir: str
    prompts: tuple[str, ...] | None = None
    text_embeddings: str | None = None
    score_threshold: float | None = None
    image_size: int | None = None
    max_detections: int | None = None
    bands: Bands | None = None
    percentiles: Percentiles | None = None
    window: int | None = None
    gsd: float | None = None

    def check(self) -> None:
        """UserError for a value that is out of range. Nothing is read for this."""
        if self.score_threshold is not None and not 0 <= self.score_threshold <= 1:
            raise UserError(f"--score_threshold={self.score_threshold} must lie between 0 and 1")
        if self.image_size is not None:
            check_size(self.image_size)
        if self.max_detections is not None:
            check_max_detections(self.max_detections)
        if self.window is not None and self.window != 0 and self.window < SMALLEST_WINDOW:
            raise UserError(f"--window={self.window} must be at least {SMALLEST_WINDOW} pixels, or 0 for none")
        if self.gsd is not None and not SMALLEST_GSD <= self.gsd <= LARGEST_GSD:
            raise UserError(f"--gsd={self.gsd:g} must be the size of a pixel in metres, such as 0.5")


@dataclass(frozen=True, eq=False)
class ReadyDetector:
    """A detector, with the request's settings, and the prompts, encoded. Detections with a score below `threshold`, one
    for all or one for each prompt, are to be left out; `threshold_note` says where it comes from, if the user did not
    name it. `options` are those of `detector.searching.find_in_images`."""

    detector: "TrainedDetector"
    prompts: "TextEmbeddings"
    threshold: float | Float32[np.ndarray, " k"]
    threshold_note: str
    options: Mapping[str, Any]


def prepare_detector(request: DetectionRequest) -> ReadyDetector:
    """Load the detector and encode the prompts. UserError for a run or a file that cannot be used, for values that are
    out of range, and for prompts that the detector cannot encode."""
    from remoteclip_jax.detector.inference import encode_prompts, with_embeddings
    from remoteclip_jax.detector.thresholds import thresholds_of
    from remoteclip_jax.runs.directory import RunDirectory

    from .loading import load_detector
    from .thresholds import threshold_line

    request.check()
    detector = load_detector(request.workdir)
    if request.image_size is not None:
        detector = replace(detector, views=resized_views(detector.views, request.image_size))
    if request.max_detections is not None:
        detector = replace(detector, max_detections=request.max_detections)
    if request.window is not None:
        detector = replace(detector, window=request.window or None)
    if request.gsd is not None and detector.window is None:
        raise UserError(f"--gsd={request.gsd:g} needs --window, the side of the training images in pixels")
    if request.text_embeddings:
        detector = with_embeddings(detector, request.text_embeddings)
    prompts = encode_prompts(detector, request.prompts)
    threshold: float | Float32[np.ndarray, " k"] = request.score_threshold or 0.0
    note = ""
    if request.score_threshold is None:
        novel = detector.novel_names(prompts.class_names)
        threshold = thresholds_of(detector.thresholds, prompts.class_names, novel)
        note = threshold_line(detector.thresholds, prompts.class_names, RunDirectory(Path(request.workdir)), novel)
    options = {
        "bands": request.bands or detector.bands,
        "percentiles": request.percentiles,
        "gsd": request.gsd,
    }
    return ReadyDetector(detector, prompts, threshold, note, options)
