"""Detect objects in a million images: `python -m remoteclip_jax.predict --workdir=RUN --images=FOLDER --output=DIR`.

The results are in shards, in DIR/results. Start the command again with the same --output, and it goes on."""

import sys
from pathlib import Path

from absl import flags

from remoteclip_jax import errors
from remoteclip_jax.bulk.shards import FORMATS
from remoteclip_jax.commands import detector_flags
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.printable import printable

flags.adopt_module_key_flags(detector_flags)
_IMAGES = DEFINE_path(
    "images",
    None,
    "a folder, a pattern such as 'photos/**/*.jpg', a file .txt with a path a line, or a URL such as s3://bucket/folder",
    required=True,
)
_OUTPUT = DEFINE_path("output", None, "folder for the results", required=True)
_FORMAT = flags.DEFINE_enum("output_format", FORMATS[0], FORMATS, "of the results")
_SHARD_IMAGES = flags.DEFINE_integer("shard_images", 1000, "images in a file of results")
_RECURSIVE = flags.DEFINE_bool("recursive", True, "look in subfolders too")
_RETRY = flags.DEFINE_bool("retry_errors", False, "try images again that could not be read before")
_RAY = flags.DEFINE_string("ray", None, "predict on a Ray cluster: its address, auto, or local for this machine")
_WORKERS = flags.DEFINE_integer(
    "workers", None, "processes that predict on the Ray cluster, each with a GPU if any (1)"
)


def main() -> None:
    """Detect objects in all images, write the results, and print a summary."""
    # The first imports do not load JAX, so that errors in the flags appear at once.
    from remoteclip_jax.bulk.job import PredictionJob, predict_images
    from remoteclip_jax.bulk.remote import is_url
    from remoteclip_jax.bulk.sources import find_images
    from remoteclip_jax.data.notes import Notes

    if _WORKERS.value is not None and _RAY.value is None:
        raise errors.UserError("--workers is the number of processes on a Ray cluster: add --ray=local, or its address")
    if is_url(_OUTPUT.value):
        raise errors.UserError(f"--output={_OUTPUT.value}: expected a folder of this machine; copy the results later")
    job = PredictionJob(
        detector_flags.requested_detection(),
        Path(_OUTPUT.value),
        _FORMAT.value,
        _SHARD_IMAGES.value,
        detector_flags.requested_batch_size(),
        _RETRY.value,
        _RAY.value,
        1 if _WORKERS.value is None else _WORKERS.value,
    )
    job.check()
    notes = Notes("images")
    names = find_images(_IMAGES.value, _RECURSIVE.value, notes)
    print(printable(f"{len(names)} images in {_IMAGES.value}"), flush=True)

    from remoteclip_jax.runtime.compilation import enable_compilation_cache
    from remoteclip_jax.runtime.memory import keep_freed_memory

    keep_freed_memory()
    enable_compilation_cache()
    outcome = predict_images(job, names, notes)
    for line in notes.lines():
        print(printable(line), file=sys.stderr)
    print(printable(outcome.summary()))
    if outcome.failed:
        print(f"{outcome.failed} images cannot be read; their rows say why", file=sys.stderr)
        sys.exit(2)


def run() -> None:
    """The command `remoteclip-predict`."""
    errors.run(main)
