"""Generates the synthetic data set: `python -m remoteclip_jax.scenes --output=DIR`."""

from pathlib import Path
from typing import NoReturn

from absl import flags

from remoteclip_jax import errors
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.scenes.dataset import generate_dataset

_OUTPUT = DEFINE_path("output", None, "folder to write the data set to", required=True)
_TRAIN = flags.DEFINE_integer("train", 70, "number of training images")
_VAL = flags.DEFINE_integer("val", 15, "number of validation images")
_TEST = flags.DEFINE_integer("test", 15, "number of test images")
_SEED = flags.DEFINE_integer("seed", 0, "the same seed gives the same bytes")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 800, "pixels per side")


def main() -> None:
    """Generate the data set that the flags ask for, and print where it is."""
    from remoteclip_jax.clip.caption_file import CAPTIONS_FILE, write_box_captions
    from remoteclip_jax.data.reading import read_dataset

    output = Path(_OUTPUT.value)
    counts = {"train": _TRAIN.value, "val": _VAL.value, "test": _TEST.value}
    generate_dataset(output, **counts, seed=_SEED.value, image_size=_IMAGE_SIZE.value, progress=True)
    if not (output / CAPTIONS_FILE).exists():
        splits = [read_dataset(output, split) for split, count in counts.items() if count]
        write_box_captions(splits, output, output / CAPTIONS_FILE, _SEED.value)
    print(f"{sum(counts.values())} images in {output}, and five captions for each of them in {CAPTIONS_FILE}")


def run() -> NoReturn:
    """The command `python -m remoteclip_jax.scenes`."""
    errors.run(main)
