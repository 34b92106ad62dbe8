"""The settings and presets of `contrast`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.fields import setting

Freeze = Literal["none", "image", "image_stem", "text"]


@dataclass(frozen=True)
class ContrastConfig(TrainConfig):
    """The settings of a `contrast` run.

    `freeze` names what keeps its initial weights: the image tower, its stem alone (the three convolutions before the
    first block), or the text tower. With `train_norm` batch norm uses and updates the statistics of the batch, else it
    uses those that the weights came with. A batch is computed in `accumulate` parts, one after the other, which takes
    less memory and more time. The synthetic images are seen whole, and also in windows of a regular grid of
    `synthetic_grid` by `synthetic_grid`; 1 for whole images alone.
    """

    captions: str | None = setting(
        None,
        "contrast: captions: a JSON (RSICD, COCO), CSV or TSV file, or tar shards (DATA_DIR/captions.json)",
        path=True,
    )
    freeze: Freeze = setting("none", "contrast: what keeps its initial weights (none)")
    accumulate: int = setting(1, "contrast: compute a batch in so many parts, to save memory (1)", between=(1, 10**4))
    train_norm: bool = True
    synthetic_grid: int = setting(1, between=(1, 8))
    validation_images: int = setting(1000, between=(1, 10**6))  # of the validation split, in training

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, unused in {"classes": None, "text_embeddings": None, "dataset_format": "auto"}.items():
            if getattr(self, name) != unused:
                raise UserError(f"--{name} is not for --task=contrast, which learns from captions: leave it out")
        if self.backbone == "frozen":
            raise UserError('--set=backbone="frozen" is for other tasks: --freeze=image freezes the image tower')
        if self.batch_size % self.accumulate:
            raise UserError(
                f"--batch_size={self.batch_size} must be a multiple of --accumulate={self.accumulate}, the number of "
                "its parts"
            )
        if self.accumulate > 1 and self.train_norm and self.freeze != "image":
            raise UserError(
                f"--accumulate={self.accumulate} needs --set=train_norm=false: batch norm would use the statistics of "
                "a part in place of the batch's, and the result would depend on the number of parts"
            )


CONFIG = ContrastConfig
PRESETS = {
    # RemoteCLIP's own fine-tuning, as far as its paper states it (Liu et al. 2024, section IV-A), from its weights or
    # from CLIP's.
    "rn50": ContrastConfig(
        batch_size=64,
        epochs=5,
        learning_rate=7e-5,
        schedule="cosine",
        weight_decay=0.2,
        decay_vectors=False,
        synthetic_train=400,
        synthetic_val=100,
    ),
    # Two CPU cores, random weights: a stand-in for RemoteCLIP that knows the classes of the synthetic images.
    "small": ContrastConfig(
        arch="small",
        image_size=128,
        augment="flip",
        batch_size=64,
        epochs=22,
        validations=4,
        checkpoint_every=11,
        learning_rate=2e-3,
        schedule="cosine",
        weight_decay=0.1,
        decay_vectors=False,
        beta2=0.98,
        clip_norm=5.0,
        ema=0.998,
        synthetic_train=6000,
        synthetic_val=200,
        synthetic_test=500,
        synthetic_size=640,
        synthetic_grid=2,
    ),
    # The whole pipeline in a minute, for a first look and for tests. It learns little.
    "tiny": ContrastConfig(
        arch="tiny",
        image_size=64,
        augment="flip",
        batch_size=16,
        epochs=4,
        validations=1,
        learning_rate=1e-3,
        schedule="cosine",
        weight_decay=0.1,
        decay_vectors=False,
        clip_norm=5.0,
        synthetic_train=64,
        synthetic_val=16,
        synthetic_test=16,
        synthetic_size=128,
    ),
}


def default_preset(accelerator: bool, weights: bool) -> str:
    """The preset if the user names none: from given weights, RemoteCLIP's own; from random ones, the small towers."""
    return "rn50" if weights or accelerator else "small"


def complete(config: ContrastConfig, settings: Mapping[str, Any]) -> ContrastConfig:
    """`config` unchanged: no setting of this task follows from another."""
    return config
