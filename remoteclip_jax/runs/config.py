"""The settings that all tasks share: data, length, optimizer, devices. Each task adds its own to them."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from remoteclip_jax.clip.config import architecture
from remoteclip_jax.data.bands import parse_bands
from remoteclip_jax.data.views import check_size
from remoteclip_jax.errors import UserError
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.runs.fields import check_fields, setting

Schedule = Literal["constant", "cosine", "step"]
DatasetFormat = Literal["auto", "dior", "coco", "yolo", "dota", "folder"]
Augment = Literal["none", "flip", "full"]
DType = Literal["float32", "bfloat16"]
Backbone = Literal["train", "slow", "frozen"]


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a run. The defaults are those of the original experiment. Paths are strings, so that JSON can
    hold them. UserError for an invalid value.

    Users do not set the derived fields. `total_steps` is the number of steps, fitted to `max_minutes` if that is given.
    The first `first_steps` are the first phase of the training (see `training.workload`). `fits` holds each fitted
    pair of step counts, and the step after which it was fitted (see `training.plan`).
    """

    task: str = setting("align", derived=True)
    preset: str = setting("", derived=True)
    # Data
    data_dir: str | None = setting(None, "images and annotations; without it, synthetic images are made", path=True)
    dataset_format: DatasetFormat = setting("auto", "of --data_dir (auto)")
    train_split: str | None = setting(None, "split to train on, such as trainval or train+val (train)")
    val_split: str | None = setting(None, "split to validate on (val, valid, val2017, …, as the data call it)")
    test_split: str | None = setting(None, "split to evaluate at the end, if the task does that (test)")
    val_share: float | None = setting(None, "take this share of the training images for validation, such as 0.1")
    skip_broken: bool = setting(False, "leave out images that cannot be read, and say which")
    bands: tuple[int, ...] | None = setting(
        None, "red, green and blue of images with more than three bands, such as 3,2,1 (1,2,3)", parse=parse_bands
    )
    classes: str | None = setting(None, "file of class names, one per line", path=True)
    synthetic_train: int = setting(70, between=(1, 10**6))  # images, if no data are given: as many as in mini_dataset
    synthetic_val: int = setting(15, between=(1, 10**6))
    synthetic_test: int = setting(15, between=(0, 10**6))
    synthetic_size: int = setting(800, between=(64, 8192))  # pixels per side
    # Initial weights
    arch: str = "RN50"
    weights: str | None = setting(
        None, "converted weights or a run (a detect run for detect only); else random", path=True
    )
    text_embeddings: str | None = setting(None, "npz with class_names[K] and embeddings[K, D]", path=True)
    # Batches
    augment: Augment = setting("none", "flip: flips and quarter turns; full: crops and colours too (none)")
    image_size: int = setting(224, "side of the images in pixels, a multiple of 32 (224)")
    batch_size: int = setting(8, "images per step, over all devices (8)", between=(1, 10**6))
    dtype: DType = setting("float32", "compute type; parameters stay float32 (float32)")
    seed: int = setting(
        0, "of the synthetic data, the initialisation, shuffling and augmentation (0)", between=(0, 2**31 - 1)
    )
    # Length
    epochs: int = setting(10, "passes over the training images (10)", between=(1, 10**6))
    max_steps: int | None = setting(None, "stop after this many steps", between=(1, 10**9))
    max_minutes: float | None = setting(
        None, "as many steps as fit into this time, from start to report", between=(0.1, 10**6)
    )
    checkpoint_every: int = setting(5, "epochs between the checkpoints that are kept (5)", between=(1, 10**6))
    validations: int | None = setting(None, between=(1, 10**6))  # spread over the training; None: after every epoch
    total_steps: int | None = setting(None, derived=True)
    first_steps: int = setting(0, derived=True)
    fits: tuple[tuple[int, int, int], ...] = setting((), derived=True)
    # Optimizer
    learning_rate: float = setting(1e-4, "AdamW's learning rate (1e-4)", between=(1e-12, 1e3))
    schedule: Schedule = setting("constant", "learning rate schedule (constant)")
    weight_decay: float = setting(0.01, between=(0, 1e3))  # torch.optim.AdamW's default
    decay_vectors: bool = True  # decay norms, biases and the temperature too, as in the original experiment
    beta2: float = setting(0.999, between=(0, 1 - 1e-9))
    clip_norm: float = setting(0.0, between=(0, 1e9))  # bound on the norm of the gradient; 0: none
    ema: float = setting(0.0, between=(0, 1 - 1e-9))  # decay of the weights' moving average; 0: none
    remat: bool = False  # the image tower's backward pass computes activations again: less memory, more time
    backbone: Backbone = "train"  # the image tower's learning rate: full, a tenth, or zero

    def __post_init__(self) -> None:
        check_fields(self)
        if self.val_share is not None and not 0 < self.val_share < 1:
            raise UserError(f"--val_share={self.val_share:g} is out of range: it must lie between 0 and 1")
        if self.val_share is not None and self.val_split is not None:
            raise UserError("--val_share takes the validation from the training images; leave out --val_split")
        architecture(self.arch)  # UserError for an unknown one
        check_size(self.image_size)

    def save(self, path: Path) -> None:
        """Write the configuration as JSON."""
        write_atomically(path, json.dumps(dataclasses.asdict(self), indent=2) + "\n")


# Settings that may change when a run is resumed. A change of any other would make it another run.
EXTENDABLE_FIELDS = ("epochs", "max_steps", "max_minutes")
# Paths may change too: the same data, names and weights may have moved.
PATH_FIELDS = ("data_dir", "classes", "weights", "text_embeddings", "captions")

# Old names of fields in the config.json of version 0.1.0, and their present names.
RENAMED_FIELDS = {
    "draw_train": "synthetic_train",
    "draw_val": "synthetic_val",
    "draw_test": "synthetic_test",
    "draw_size": "synthetic_size",
    "align_steps": "first_steps",
}
# Version 0.1.0 wrote the settings of all tasks into every config.json. These are ignored if the run's task lacks them.
FIELDS_OF_OTHER_TASKS = {
    *("label", "temperature", "novel", "align_share", "detector"),
    *("views", "jitter", "mosaic", "max_objects", "max_detections"),
}
# Settings that version 0.1.0 did not have and whose default is not what it did: it decayed norms and biases too.
ADDED_FIELDS = {"decay_vectors": True}
