"""`python -m remoteclip_jax.scenes --output=DIR`: draw the synthetic mini_dataset."""

from pathlib import Path

from absl import flags

from remoteclip_jax import errors
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.scenes.write import draw_dataset

_OUTPUT = DEFINE_path("output", None, "folder to draw into", required=True)
_TRAIN = flags.DEFINE_integer("train", 70, "number of training images")
_VAL = flags.DEFINE_integer("val", 15, "number of validation images")
_TEST = flags.DEFINE_integer("test", 15, "number of test images")
_SEED = flags.DEFINE_integer("seed", 0, "the same seed gives the same bytes")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 800, "pixels a side")


def main() -> None:
    """Draw what the flags ask for and say where it lies."""
    output = Path(_OUTPUT.value)
    draw_dataset(output, _TRAIN.value, _VAL.value, _TEST.value, _SEED.value, _IMAGE_SIZE.value, progress=True)
    print(f"{_TRAIN.value + _VAL.value + _TEST.value} images in {output}")


if __name__ == "__main__":
    errors.run(main)
