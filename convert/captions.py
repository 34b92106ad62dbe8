"""Captions from boxes: `python -m convert.captions --data_dir=DIR --output=FILE.json`.

It reads whatever `train.py --task=detect` reads, and writes five captions for each image that has objects, by
RemoteCLIP's rules, in the layout of RSICD's JSON. `--captions=FILE.json --data_dir=DIR` reads them. See
docs/captions.md.
"""

from pathlib import Path
from typing import get_args

from absl import flags

from remoteclip_jax.data.classes import read_class_file
from remoteclip_jax.errors import UserError, run
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.printable import printable
from remoteclip_jax.runs.config import DatasetFormat

_DATA_DIR = DEFINE_path("data_dir", None, "the data set", required=True)
_FORMAT = flags.DEFINE_enum("dataset_format", "auto", get_args(DatasetFormat), "of --data_dir")
_OUTPUT = DEFINE_path("output", None, "JSON file to write, new", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "of the choice of sentences", lower_bound=0)
_CLASSES = DEFINE_path("classes", None, "file of class names, one per line")
_SKIP = flags.DEFINE_bool("skip_broken", False, "leave out images that cannot be read, and say which")


def main() -> None:
    """Write the captions that the flags ask for, and print what was recognised, left out and written."""
    from convert.dataset_conversion import read_all_splits
    from remoteclip_jax.clip.caption_file import write_box_captions
    from remoteclip_jax.data.reading import recognised_format

    data_dir, output = Path(_DATA_DIR.value), Path(_OUTPUT.value)
    if output.is_dir():
        raise UserError(f"{output}: is a folder; --output takes a file, such as captions.json")
    if output.exists() or output.is_symlink():
        raise UserError(f"{output}: exists; choose another --output or remove it")
    classes = read_class_file(Path(_CLASSES.value)) if _CLASSES.value else None
    datasets, lines = read_all_splits(data_dir, recognised_format(data_dir, _FORMAT.value), classes, _SKIP.value)
    lines += write_box_captions(datasets, data_dir, output, _SEED.value)
    print(*map(printable, lines), sep="\n")


def command() -> None:
    """The command `python -m convert.captions`."""
    run(main)


if __name__ == "__main__":
    command()
