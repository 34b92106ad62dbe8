"""Detect objects in your own images: `python -m remoteclip_jax.detect --workdir=RUN --image='*.jpg' --output=DIR`."""

import contextlib
import sys
from pathlib import Path

from absl import flags
from tqdm import tqdm

from remoteclip_jax import errors
from remoteclip_jax.commands import detector_flags
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.printable import printable
from remoteclip_jax.tasks.detect.image_results import check_output, find_images, result_names

flags.adopt_module_key_flags(detector_flags)
_IMAGE = DEFINE_path("image", None, "an image, a folder, or a pattern such as 'photos/*.jpg'", required=True)
_FORMATS = flags.DEFINE_list(
    "output_format", None, "of json, geojson, coco, yolo, csv (json, and geojson for images with coordinates)"
)
_CRS = flags.DEFINE_enum("geojson_crs", "wgs84", ["wgs84", "native"], "coordinates of GeoJSON; native: the image's own")
_OUTPUT = DEFINE_path("output", None, "folder for STEM.jpg, STEM.json and so on of each image", required=True)


def main() -> None:
    """Detect objects in each image, write the results, and print the counts."""
    # The first imports do not load JAX, so that errors in the flags appear at once.
    from remoteclip_jax.data.notes import Notes
    from remoteclip_jax.results.formats import parse_formats, reserved_names
    from remoteclip_jax.tasks.detect.request import prepare_detector

    request, batch_size = detector_flags.requested_detection(), detector_flags.requested_batch_size()
    settings = parse_formats(_FORMATS.value, _CRS.value)
    notes = Notes("images")
    images, output = find_images(_IMAGE.value, notes), Path(_OUTPUT.value)
    names = result_names(images, reserved_names(settings))
    check_output(output, images, names, text_files="yolo" in settings.formats)

    from remoteclip_jax.detector.searching import default_batch_size, number_of_windows
    from remoteclip_jax.runtime.compilation import enable_compilation_cache
    from remoteclip_jax.runtime.memory import keep_freed_memory
    from remoteclip_jax.tasks.detect.image_batches import detect_in_files

    keep_freed_memory()
    enable_compilation_cache()
    ready = prepare_detector(request)
    if ready.threshold_note:
        print(printable(ready.threshold_note), file=sys.stderr)
    windows = len(images) if len(images) > 1 else number_of_windows(images[0], ready.detector)
    output.mkdir(parents=True, exist_ok=True)
    failed = False
    outcomes = detect_in_files(
        ready.detector,
        ready.prompts,
        images,
        [output / name for name in names],
        threshold=ready.threshold,
        notes=notes,
        batch_size=batch_size or default_batch_size(ready.detector, windows),
        progress=True,
        settings=settings,
        **ready.options,
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
