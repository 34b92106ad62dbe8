"""The flags that say with what a command detects, common to `detect` and `predict`."""

from absl import flags

from remoteclip_jax.data.bands import parse_bands, parse_percentiles
from remoteclip_jax.errors import UserError
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.tasks.detect.request import DetectionRequest

_WORKDIR = DEFINE_path("workdir", None, "a run of train.py --task=detect", required=True)
_PROMPTS = flags.DEFINE_list("prompts", None, "what to look for, such as 'ship,storage tank' (the run's classes)")
_TEXTS = DEFINE_path("text_embeddings", None, "npz with class_names[K] and embeddings[K, D] to use instead")
_THRESHOLD = flags.DEFINE_float("score_threshold", None, "leave out detections with a lower score (the run's, or 0.3)")
_SIZE = flags.DEFINE_integer("image_size", None, "pixels of the finest view at which images are predicted (the run's)")
_MAX_DETECTIONS = flags.DEFINE_integer("max_detections", None, "at most this many per window (the run's)")
_WINDOW = flags.DEFINE_integer(
    "window", None, "side in pixels of the windows in which large images are searched; 0: whole (the training images')"
)
_GSD = flags.DEFINE_float(
    "gsd", None, "metres a pixel of the training images; images that say their own are searched at that scale"
)
_BANDS = flags.DEFINE_string(
    "bands", None, "red, green and blue of images with more than three bands, such as 3,2,1 (the run's)"
)
_STRETCH = flags.DEFINE_string(
    "stretch", None, "percentiles of each band that become black and white, such as 2,98 (by the range that is used)"
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "windows predicted at a time (CPU: 2, GPU: 8; fewer if large)")


def requested_detection() -> DetectionRequest:
    """What the flags ask for. UserError for values that are out of range; JAX is not loaded."""
    request = DetectionRequest(
        _WORKDIR.value,
        None if _PROMPTS.value is None else tuple(_PROMPTS.value),
        _TEXTS.value,
        _THRESHOLD.value,
        _SIZE.value,
        _MAX_DETECTIONS.value,
        parse_bands(_BANDS.value) if _BANDS.value else None,
        parse_percentiles(_STRETCH.value) if _STRETCH.value else None,
        _WINDOW.value,
        _GSD.value,
    )
    request.check()
    return request


def requested_batch_size() -> int | None:
    """The value of --batch_size; None if there is none. UserError if it is not positive."""
    if _BATCH_SIZE.value is not None and _BATCH_SIZE.value < 1:
        raise UserError(f"--batch_size={_BATCH_SIZE.value} must be at least 1")
    size: int | None = _BATCH_SIZE.value
    return size
