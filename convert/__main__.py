"""Convert a PyTorch checkpoint: `python -m convert --checkpoint=FILE.pt --output=DIR [--arch=RN50] [--verify]`."""

from pathlib import Path

from absl import flags

from convert.conversion import convert
from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.errors import run
from remoteclip_jax.path_flags import DEFINE_path

_CHECKPOINT = DEFINE_path(
    "checkpoint",
    None,
    "PyTorch weights: a .pt or .safetensors file, or hf://chendelong/RemoteCLIP/RemoteCLIP-RN50.pt",
    required=True,
)
_OUTPUT = DEFINE_path("output", None, "directory to write the weights to", required=True)
_ARCH = flags.DEFINE_enum("arch", "RN50", list(ARCHITECTURES), "architecture of the checkpoint")
_VERIFY = flags.DEFINE_bool("verify", False, "compare the written weights with open_clip, and fail above a bound")


def main() -> None:
    """Convert the checkpoint that the flags name."""
    convert(_CHECKPOINT.value, Path(_OUTPUT.value), _ARCH.value, _VERIFY.value)


def command() -> None:
    """The command `remoteclip-convert`."""
    run(main)


if __name__ == "__main__":
    command()
