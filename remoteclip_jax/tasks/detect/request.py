"""What is to be detected and with what, as plain values: they are checked without JAX and go to other processes."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from remoteclip_jax.data.types import Bands
from remoteclip_jax.data.views import check_size, resized_views
from remoteclip_jax.detector.detections import check_max_detections
from remoteclip_jax.errors import UserError

if TYPE_CHECKING:
    from remoteclip_jax.clip.text_embeddings import TextEmbeddings
    from remoteclip_jax.detector.inference import TrainedDetector


@dataclass(frozen=True)
class DetectionRequest:
    """The run `workdir`, and what is asked of its detector. None means the run's own value.

    `prompts` are words for things, `text_embeddings` is an npz file to use in place of the run's classes, `image_size`
    the pixels of the finest view. Detections with a score below `score_threshold` are left out.
    """

    workdir: str
    prompts: tuple[str, ...] | None = None
    text_embeddings: str | None = None
    score_threshold: float = 0.3
    image_size: int | None = None
    max_detections: int | None = None
    bands: Bands | None = None

    def check(self) -> None:
        """UserError for a value that is out of range. Nothing is read for this."""
        if not 0 <= self.score_threshold <= 1:
            raise UserError(f"--score_threshold={self.score_threshold} must lie between 0 and 1")
        if self.image_size is not None:
            check_size(self.image_size)
        if self.max_detections is not None:
            check_max_detections(self.max_detections)


@dataclass(frozen=True, eq=False)
class ReadyDetector:
    """A detector, with the request's settings, and the prompts, encoded. Detections with a score below `threshold` are
    to be left out; `bands` are those to read from images with more than three."""

    detector: "TrainedDetector"
    prompts: "TextEmbeddings"
    threshold: float
    bands: Bands | None


def prepare_detector(request: DetectionRequest) -> ReadyDetector:
    """Load the detector and encode the prompts. UserError for a run or a file that cannot be used, for values that are
    out of range, and for prompts that the detector cannot encode."""
    from remoteclip_jax.detector.inference import encode_prompts, with_embeddings

    from .loading import load_detector

    request.check()
    detector = load_detector(request.workdir)
    if request.image_size is not None:
        detector = replace(detector, views=resized_views(detector.views, request.image_size))
    if request.max_detections is not None:
        detector = replace(detector, max_detections=request.max_detections)
    if request.text_embeddings:
        detector = with_embeddings(detector, request.text_embeddings)
    prompts = encode_prompts(detector, request.prompts)
    return ReadyDetector(detector, prompts, request.score_threshold, request.bands or detector.bands)
