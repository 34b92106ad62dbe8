"""Detect objects in your own images: `python -m remoteclip_jax.detect --workdir=RUN --image='*.jpg' --output=DIR`."""

import contextlib
import dataclasses
import sys
from pathlib import Path

from absl import flags
from tqdm import tqdm

from remoteclip_jax import errors
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.printable import printable
from remoteclip_jax.tasks.detect.image_results import check_output, find_images, result_names

_WORKDIR = DEFINE_path("workdir", None, "a run of train.py --task=detect", required=True)
_IMAGE = DEFINE_path("image", None, "an image, a folder, or a pattern such as 'photos/*.jpg'", required=True)
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
_FORMATS = flags.DEFINE_list(
    "output_format", None, "of json, geojson, coco, yolo, csv (json, and geojson for images with coordinates)"
)
_CRS = flags.DEFINE_enum("geojson_crs", "wgs84", ["wgs84", "native"], "coordinates of GeoJSON; native: the image's own")
_OUTPUT = DEFINE_path("output", None, "folder for STEM.jpg, STEM.json and so on of each image", required=True)


def main() -> None:
    """Detect objects in each image, write the results, and print the counts."""
    # The first imports do not load JAX, so that errors in the flags appear at once.
    from remoteclip_jax.data.bands import parse_bands, parse_percentiles
    from remoteclip_jax.data.notes import Notes
    from remoteclip_jax.data.tiling import SMALLEST_WINDOW
    from remoteclip_jax.data.views import check_size, resized_views
    from remoteclip_jax.detector.detections import check_max_detections
    from remoteclip_jax.results.formats import parse_formats, reserved_names

    bands = parse_bands(_BANDS.value) if _BANDS.value else None
    percentiles = parse_percentiles(_STRETCH.value) if _STRETCH.value else None
    if _WINDOW.value is not None and _WINDOW.value != 0 and _WINDOW.value < SMALLEST_WINDOW:
        raise errors.UserError(f"--window={_WINDOW.value} must be at least {SMALLEST_WINDOW} pixels, or 0 for none")
    if _GSD.value is not None and not 0 < _GSD.value < 1e5:
        raise errors.UserError(f"--gsd={_GSD.value:g} must be the size of a pixel in metres, such as 0.5")
    if _THRESHOLD.value is not None and not 0 <= _THRESHOLD.value <= 1:
        raise errors.UserError(f"--score_threshold={_THRESHOLD.value} must lie between 0 and 1")
    if _SIZE.value is not None:
        check_size(_SIZE.value)
    if _MAX_DETECTIONS.value is not None:
        check_max_detections(_MAX_DETECTIONS.value)
    if _BATCH_SIZE.value is not None and _BATCH_SIZE.value < 1:
        raise errors.UserError(f"--batch_size={_BATCH_SIZE.value} must be at least 1")
    settings = parse_formats(_FORMATS.value, _CRS.value)
    notes = Notes("images")
    images, output = find_images(_IMAGE.value, notes), Path(_OUTPUT.value)
    names = result_names(images, reserved_names(settings))
    check_output(output, images, names, text_files="yolo" in settings.formats)

    from remoteclip_jax.detector.inference import encode_prompts, with_embeddings
    from remoteclip_jax.detector.searching import default_batch_size
    from remoteclip_jax.detector.thresholds import thresholds_of
    from remoteclip_jax.runs.directory import RunDirectory
    from remoteclip_jax.runtime.compilation import enable_compilation_cache
    from remoteclip_jax.runtime.memory import keep_freed_memory
    from remoteclip_jax.tasks.detect.image_batches import detect_in_files
    from remoteclip_jax.tasks.detect.loading import load_detector
    from remoteclip_jax.tasks.detect.thresholds import threshold_line

    keep_freed_memory()
    enable_compilation_cache()
    detector = load_detector(_WORKDIR.value)
    if _SIZE.value is not None:
        detector = dataclasses.replace(detector, views=resized_views(detector.views, _SIZE.value))
    if _MAX_DETECTIONS.value is not None:
        detector = dataclasses.replace(detector, max_detections=_MAX_DETECTIONS.value)
    if _WINDOW.value is not None:
        detector = dataclasses.replace(detector, window=_WINDOW.value or None)
    if _GSD.value is not None and detector.window is None:
        raise errors.UserError(f"--gsd={_GSD.value:g} needs --window, the side of the training images in pixels")
    if _TEXTS.value:
        detector = with_embeddings(detector, _TEXTS.value)
    prompts = encode_prompts(detector, _PROMPTS.value)
    if bands is None:
        bands = detector.bands
    if _THRESHOLD.value is None:
        line = threshold_line(detector.thresholds, prompts.class_names, RunDirectory(Path(_WORKDIR.value)))
        print(printable(line), file=sys.stderr)
    own = thresholds_of(detector.thresholds, prompts.class_names)
    output.mkdir(parents=True, exist_ok=True)
    failed = False
    outcomes = detect_in_files(
        detector,
        prompts,
        images,
        [output / name for name in names],
        threshold=own if _THRESHOLD.value is None else _THRESHOLD.value,
        bands=bands,
        percentiles=percentiles,
        gsd=_GSD.value,
        notes=notes,
        batch_size=_BATCH_SIZE.value or default_batch_size(detector, images),
        progress=True,
        settings=settings,
    )
    # Closed at once if the command is interrupted, so that images that were read ahead are not waited for.
    with contextlib.closing(outcomes):
        for path, outcome in zip(images, tqdm(outcomes, total=len(images), unit="image", disable=None), strict=True):
            if isinstance(outcome, errors.UserError):
                if len(images) == 1:
                    raise outcome
                tqdm.write(errors.error_line(outcome), file=sys.stderr)
                failed = True
            else:
                found = ", ".join(f"{n} {label}" for label, n in outcome.most_common()) or "nothing found"
                tqdm.write(printable(f"{path}: {found}"))
    for line in notes.lines():
        print(printable(line), file=sys.stderr)
    if failed:
        sys.exit(2)


def run() -> None:
    """The command `remoteclip-detect`."""
    errors.run(main)
