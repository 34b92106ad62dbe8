"""What a training run is: one frozen value, made from a preset and the settings that the user named."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.errors import UserError
from remoteclip_jax.files import write_atomically

Schedule = Literal["constant", "cosine", "step"]
DatasetFormat = Literal["auto", "dior", "coco", "folder"]
Label = Literal["first", "largest", "multi"]
Augment = Literal["none", "flip", "full"]
DType = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run; the defaults are those of the original experiment. Paths are strings, so that JSON holds them.

    `max_minutes` fits the number of steps to a time; the fitted number is kept in `total_steps`.
    """

    task: str = "align"
    preset: str = "rn50"
    arch: str = "RN50"
    data_dir: str | None = None  # None: synthetic data, drawn into WORKDIR/data
    dataset_format: DatasetFormat = "auto"
    classes: str | None = None
    weights: str | None = None
    text_embeddings: str | None = None
    label: Label = "largest"
    augment: Augment = "none"
    epochs: int = 10
    max_steps: int | None = None
    max_minutes: float | None = None
    total_steps: int | None = None
    batch_size: int = 8
    learning_rate: float = 1e-4
    weight_decay: float = 0.01  # torch.optim.AdamW's default
    schedule: Schedule = "constant"
    temperature: float = 0.07
    image_size: int = 224
    dtype: DType = "float32"
    seed: int = 0
    checkpoint_every: int = 5

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 10**6), ("batch_size", 1, 10**6), ("image_size", 32, 4096), ("checkpoint_every", 1, 10**6),
            ("max_steps", 1, 10**9), ("max_minutes", 0.1, 10**6), ("learning_rate", 1e-12, 1e3), ("seed", 0, 2**31 - 1),
            ("temperature", 1e-4, 1e3),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UserError(f"--{name}={value} is out of range: it must lie between {low:g} and {high:g}")
        if self.image_size % 32:
            raise UserError(f"--image_size={self.image_size} must be a multiple of 32, the image tower's total stride")
        for name, kind in (
            ("schedule", Schedule), ("dataset_format", DatasetFormat), ("label", Label), ("augment", Augment),
            ("dtype", DType), ("task", Literal["align"]), ("arch", Literal[tuple(ARCHITECTURES)]),
        ):  # fmt: skip
            if getattr(self, name) not in get_args(kind):
                raise UserError(f"--{name}={getattr(self, name)} is unknown; known: {', '.join(get_args(kind))}")

    def save(self, path: Path) -> None:
        write_atomically(path, json.dumps(dataclasses.asdict(self), indent=2) + "\n")


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "align": {
        "rn50": {},
        # The whole pipeline in a minute on a laptop; a tower this narrow learns, but it is no RemoteCLIP.
        "tiny": {"arch": "tiny", "image_size": 64, "learning_rate": 1e-3},
    },
}

# What may differ when a run is started again; anything else would make it another run.
EXTENDABLE = ("epochs", "max_steps", "max_minutes")


def new_config(settings: dict[str, Any]) -> TrainConfig:
    """The preset's configuration with the user's `settings` over it. UserError for unknown tasks and presets."""
    task = settings.get("task", "align")
    if task not in PRESETS:
        raise UserError(f"--task={task} is unknown; known: {', '.join(PRESETS)}")
    preset = settings.get("preset", next(iter(PRESETS[task])))
    if preset not in PRESETS[task]:
        raise UserError(f"--preset={preset} is unknown for --task={task}; known: {', '.join(PRESETS[task])}")
    return TrainConfig(**{**PRESETS[task][preset], **settings, "task": task, "preset": preset})


def load_config(path: Path) -> TrainConfig:
    """The configuration saved in a run directory. UserError where the file is missing or not one of ours."""
    try:
        return TrainConfig(**json.loads(path.read_text()))
    except FileNotFoundError:
        raise UserError(f"{path.parent} is no run directory: it has no config.json") from None
    except (ValueError, TypeError) as e:
        raise UserError(f"{path} is damaged or from another version: {e}") from None


def resumed_config(saved: TrainConfig, settings: dict[str, Any], workdir: Path) -> TrainConfig:
    """`saved`, with the user's new length of training; UserError naming every other setting that differs.

    Settings that the user does not name again keep their saved values.
    """
    differing = [
        f"--{name}={value} (was {getattr(saved, name)})"
        for name, value in settings.items()
        if name not in EXTENDABLE and getattr(saved, name) != value
    ]
    if differing:
        raise UserError(
            f"{workdir} holds a run with other settings: {', '.join(differing)}; choose another --workdir, "
            f"or leave these out to go on with that run"
        )
    longer = {name: settings[name] for name in EXTENDABLE if name in settings}
    if longer.get("max_minutes", saved.max_minutes) != saved.max_minutes:
        raise UserError(f"{workdir} was fitted to --max_minutes={saved.max_minutes}; to go on give --epochs")
    if any(getattr(saved, name) != value for name, value in longer.items()):
        longer["total_steps"] = None
        if "epochs" in longer and "max_steps" not in longer:
            longer["max_steps"] = None
        if "epochs" in longer:
            longer["max_minutes"] = None
    return dataclasses.replace(saved, **longer)
