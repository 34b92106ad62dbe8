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
    output = Path(_OUTPUT.value)
    generate_dataset(output, _TRAIN.value, _VAL.value, _TEST.value, _SEED.value, _IMAGE_SIZE.value, progress=True)
    print(f"{_TRAIN.value + _VAL.value + _TEST.value} images in {output}")


def run() -> NoReturn:
    """The command `python -m remoteclip_jax.scenes`."""
    errors.run(main)
