"""Convert a data set to another format: `python -m convert.dataset --data_dir=DIR --to=coco --output=DIR`.

It reads whatever `train.py` reads, and writes all splits. With --window, images larger than that are cut into
overlapping windows. See docs/formats.md.
"""

from pathlib import Path
from typing import get_args

from absl import flags

from convert.dataset_conversion import TARGETS, Cutting, convert_dataset
from remoteclip_jax.data.classes import read_class_file
from remoteclip_jax.errors import UserError, run
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.printable import printable
from remoteclip_jax.runs.config import DatasetFormat

_DATA_DIR = DEFINE_path("data_dir", None, "the data set", required=True)
_FORMAT = flags.DEFINE_enum("dataset_format", "auto", get_args(DatasetFormat), "of --data_dir")
_TO = flags.DEFINE_enum("to", None, list(TARGETS), "the format to write", required=True)
_OUTPUT = DEFINE_path("output", None, "folder to write to, new or empty", required=True)
_WINDOW = flags.DEFINE_integer("window", None, "cut larger images into windows of this many pixels a side")
_OVERLAP = flags.DEFINE_float("overlap", 0.25, "share of a window that its neighbour has too, at least")
_CLASSES = DEFINE_path("classes", None, "file of class names, one per line")
_SKIP = flags.DEFINE_bool("skip_broken", False, "leave out images that cannot be read, and say which")


def main() -> None:
    """Convert the data set that the flags name, and print what was recognised, dropped and written."""
    if _OVERLAP.present and _WINDOW.value is None:
        raise UserError("--overlap belongs to --window=PIXELS, which is not given")
    lines = convert_dataset(
        Path(_DATA_DIR.value),
        _TO.value,
        Path(_OUTPUT.value),
        _FORMAT.value,
        None if _WINDOW.value is None else Cutting(_WINDOW.value, _OVERLAP.value),
        read_class_file(Path(_CLASSES.value)) if _CLASSES.value else None,
        _SKIP.value,
        progress=True,
    )
    print(*map(printable, lines), sep="\n")


def command() -> None:
    """The command `python -m convert.dataset`."""
    run(main)


if __name__ == "__main__":
    command()
