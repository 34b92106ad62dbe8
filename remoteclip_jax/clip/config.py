"""Shapes of the two towers, under open_clip's names."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from remoteclip_jax.errors import UserError
from remoteclip_jax.files.json_files import schema_mismatch, schema_of


@dataclass(frozen=True)
class CLIPConfig:
    """Sizes of a CLIP with a ModifiedResNet image tower (Radford et al. 2021), named as in open_clip's model configs.

    `image_size` is the size that the attention pool's position embedding was trained for; it is interpolated for other
    sizes. `quick_gelu` replaces GELU with x·sigmoid(1.702x) in the text tower: on for OpenAI's weights, off for
    RemoteCLIP's.
    """

    arch: str = "RN50"
    embed_dim: int = 1024
    image_size: int = 224
    vision_layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    vision_width: int = 64
    context_length: int = 77
    vocab_size: int = 49408
    text_width: int = 512
    text_heads: int = 8
    text_layers: int = 12
    quick_gelu: bool = False

    @property
    def vision_heads(self) -> int:
        """Heads of the attention pool: one for each 64 channels of C5."""
        return self.vision_width * 32 // 64

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "CLIPConfig":
        """The configuration that `to_json` wrote. ValueError, TypeError or KeyError for anything else."""
        if problem := schema_mismatch(values, schema_of(cls)):
            raise ValueError(problem)
        return cls(**{**values, "vision_layers": tuple(values["vision_layers"])})


ARCHITECTURES = {
    "RN50": CLIPConfig(),
    "RN50-quickgelu": CLIPConfig(arch="RN50-quickgelu", quick_gelu=True),
    # For the detector that a CPU trains in minutes: few channels, but embeddings of RN50's dimension, so that
    # RemoteCLIP's real text embeddings fit.
    "small": CLIPConfig(
        arch="small",
        vision_layers=(1, 2, 2, 1),
        vision_width=16,
        text_width=64,
        text_heads=2,
        text_layers=2,
    ),
    # A tiny version for tests and for a first try on a laptop; no published weights have this shape.
    "tiny": CLIPConfig(
        arch="tiny",
        embed_dim=64,
        image_size=64,
        vision_layers=(1, 1, 1, 1),
        vision_width=16,
        text_width=64,
        text_heads=2,
        text_layers=2,
    ),
}


def architecture(name: str) -> CLIPConfig:
    """The configuration called `name`; UserError where there is none."""
    if name not in ARCHITECTURES:
        raise UserError(f"unknown architecture {name!r}; known: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]
