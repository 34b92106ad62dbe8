"""What a training run is: one frozen value, made from a preset and the settings that the user named."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.data.views import check_size, check_views
from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.detector.detections import MAX_DETECTIONS, check_max_detections
from remoteclip_jax.errors import UserError
from remoteclip_jax.files.json_files import form_of, mismatch
from remoteclip_jax.files.writing import write_atomically

Schedule = Literal["constant", "cosine", "step"]
DatasetFormat = Literal["auto", "dior", "coco", "yolo", "folder"]
Label = Literal["first", "largest", "multi"]
Augment = Literal["none", "flip", "full"]
DType = Literal["float32", "bfloat16"]
Backbone = Literal["train", "slow", "frozen"]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run; the defaults are those of the original experiment. Paths are strings, so that JSON holds them.

    `max_minutes` fits the number of steps to a time; the fitted number is kept in `total_steps`. For `detect`:
    `detector` has the model's shape; images are predicted whole at the sizes `views` (see `data.views`), and for
    training cut from these at `image_size`, `jitter` times larger or smaller, a share `mosaic` of the samples put
    together from four tiles. Where there are several classes, the first `align_share` of the steps, which makes
    `align_steps`, align the image tower on single objects; `fits` are what was fitted, and after which step (see
    `training.plan`). `novel` names classes held out: training and validation leave out every image that shows one, the
    test has them all. `max_detections` is the most an image gets. `validations` are spread evenly over the training
    (None: after every epoch); `draw_*` say what is drawn where no data are given.
    """

    task: str = "align"
    preset: str = "rn50"
    arch: str = "RN50"
    data_dir: str | None = None  # None: synthetic data, drawn into WORKDIR/data
    dataset_format: DatasetFormat = "auto"
    train_split: str | None = None  # None: the usual names, such as train, training or train2017
    val_split: str | None = None
    test_split: str | None = None
    val_share: float | None = None  # of the training images, kept for validation
    skip_broken: bool = False
    bands: tuple[int, ...] | None = None  # of images that have more than three, counted from 1; None: the first three
    classes: str | None = None
    weights: str | None = None
    text_embeddings: str | None = None
    novel: tuple[str, ...] = ()
    label: Label = "largest"
    augment: Augment = "none"
    epochs: int = 10
    max_steps: int | None = None
    max_minutes: float | None = None
    total_steps: int | None = None
    align_share: float = 0.0
    align_steps: int = 0
    fits: tuple[tuple[int, int, int], ...] = ()
    batch_size: int = 8
    learning_rate: float = 1e-4
    weight_decay: float = 0.01  # torch.optim.AdamW's default
    decay_vectors: bool = True  # on norms, biases and the temperature too, as in the original experiment
    schedule: Schedule = "constant"
    temperature: float = 0.07
    image_size: int = 224
    dtype: DType = "float32"
    seed: int = 0
    checkpoint_every: int = 5
    backbone: Backbone = "train"  # the image tower's learning rate: whole, a tenth, or none
    beta2: float = 0.999
    clip_norm: float = 0.0
    ema: float = 0.0
    detector: DetectorConfig | None = None
    views: tuple[int, ...] = ()
    jitter: float = 1.0
    mosaic: float = 0.0
    max_objects: int = 100
    max_detections: int = MAX_DETECTIONS
    validations: int | None = None
    draw_train: int = 70  # the mini_dataset's sizes
    draw_val: int = 15
    draw_test: int = 15
    draw_size: int = 800

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 10**6),
            ("batch_size", 1, 10**6),
            ("checkpoint_every", 1, 10**6),
            ("max_steps", 1, 10**9),
            ("max_minutes", 0.1, 10**6),
            ("learning_rate", 1e-12, 1e3),
            ("seed", 0, 2**31 - 1),
            ("temperature", 1e-4, 1e3),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UserError(f"--{name}={value} is out of range: it must lie between {low:g} and {high:g}")
        if self.val_share is not None and not 0 < self.val_share < 1:
            raise UserError(f"--val_share={self.val_share:g} is out of range: it must lie between 0 and 1")
        if self.val_share is not None and self.val_split is not None:
            raise UserError("--val_share takes the validation from the training images; leave out --val_split")
        if self.novel and self.task != "detect":
            raise UserError("--novel holds classes out of --task=detect; --task=align has no use for it")
        check_size(self.image_size)
        check_max_detections(self.max_detections)
        if self.task == "detect":
            check_views(self.views)
        for name, kind in (
            ("schedule", Schedule),
            ("dataset_format", DatasetFormat),
            ("label", Label),
            ("augment", Augment),
            ("dtype", DType),
            ("task", Literal["align", "detect"]),
            ("arch", Literal[tuple(ARCHITECTURES)]),
            ("backbone", Backbone),
        ):
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
    "detect": {
        # Twenty minutes on two CPU cores, from random weights.
        "small": {
            "arch": "small",
            "image_size": 256,
            "views": (64, 128, 256, 896),
            "jitter": 1.15,
            "mosaic": 0.85,
            "align_share": 0.45,
            "max_objects": 48,
            "beta2": 0.99,
            "epochs": 10,
            "batch_size": 4,
            "learning_rate": 2e-3,
            "weight_decay": 0.05,
            "decay_vectors": False,
            "schedule": "cosine",
            "clip_norm": 5.0,
            "ema": 0.998,
            "augment": "flip",
            "checkpoint_every": 10,
            "validations": 1,
            "detector": DetectorConfig(),
            "draw_train": 2400,
            "draw_val": 30,
            "draw_test": 100,
            "draw_size": 640,
        },
        # The full one, for a GPU and converted RemoteCLIP weights.
        "dior": {
            "arch": "RN50",
            "image_size": 800,
            "views": (800,),
            "jitter": 1.6,
            "epochs": 36,
            "batch_size": 16,
            "learning_rate": 1e-4,
            "weight_decay": 1e-4,
            "decay_vectors": False,
            "schedule": "step",
            "clip_norm": 0.1,
            "ema": 0.9999,
            "augment": "full",
            "checkpoint_every": 6,
            "dtype": "bfloat16",
            "max_objects": 300,
            "detector": DetectorConfig(
                width=256,
                heads=8,
                layers=6,
                queries=300,
                feed_forward=1024,
                class_loss="varifocal",
                prior=0.01,
                denoising=200,
                contrast=0.5,  # from real weights I_g knows what an image shows
            ),
            "draw_train": 1500,
            "draw_val": 100,
            "draw_test": 100,
        },
        # The whole pipeline in a minute or two, for a first look and for tests; it detects little.
        "tiny": {
            "arch": "tiny",
            "image_size": 96,
            "views": (128,),
            "jitter": 1.2,
            "epochs": 4,
            "learning_rate": 2e-3,
            "weight_decay": 0.05,
            "decay_vectors": False,
            "schedule": "cosine",
            "clip_norm": 5.0,
            "ema": 0.99,
            "augment": "full",
            "align_share": 0.2,
            "validations": 1,
            "max_objects": 16,
            "draw_train": 64,
            "draw_val": 16,
            "draw_test": 16,
            "draw_size": 192,
            "detector": DetectorConfig(
                width=48, heads=4, layers=1, queries=40, predict_queries=80, feed_forward=96, denoising=20
            ),
        },
    },
}

# What may differ when a run is started again; anything else would make it another run.
EXTENDABLE = ("epochs", "max_steps", "max_minutes")
# What may have moved since: the same data, names and weights under another path.
PATHS = ("data_dir", "classes", "weights", "text_embeddings")


def new_config(settings: dict[str, Any], accelerator: bool = False) -> TrainConfig:
    """The preset's configuration with the user's `settings` over it; without a preset the task's default, which for
    `detect` depends on whether there is an `accelerator`. UserError for unknown tasks and presets."""
    task = settings.get("task", "align")
    if task not in PRESETS:
        raise UserError(f"--task={task} is unknown; known: {', '.join(PRESETS)}")
    default = "dior" if task == "detect" and accelerator else next(iter(PRESETS[task]))
    preset = settings.get("preset", default)
    if preset not in PRESETS[task]:
        raise UserError(f"--preset={preset} is unknown for --task={task}; known: {', '.join(PRESETS[task])}")
    values = {**PRESETS[task][preset], **settings, "task": task, "preset": preset}
    if task == "detect" and values.get("weights"):  # what has been trained keeps its statistics and moves less
        values["backbone"] = settings.get("backbone", "slow")
        values["detector"] = settings.get("detector", values["detector"].replace(train_norm=False))
        values["align_share"] = 0.0
    return TrainConfig(**values)


def load_config(path: Path) -> TrainConfig:
    """The configuration saved in a run directory. UserError where the file is missing or not one of ours."""
    try:
        values = json.loads(path.read_text())
        if problem := mismatch(values, form_of(TrainConfig)):
            raise ValueError(problem)
        if values["detector"] is not None:
            values["detector"] = DetectorConfig(**values["detector"])
        for name in ("views", "novel"):
            values[name] = tuple(values[name])
        values["fits"] = tuple((int(step), int(total), int(align)) for step, total, align in values.get("fits", ()))
        if values.get("bands") is not None:
            values["bands"] = tuple(values["bands"])
        return TrainConfig(**values)
    except FileNotFoundError:
        raise UserError(f"{path.parent} is no run directory: it has no config.json") from None
    except (ValueError, TypeError, KeyError, RecursionError, UserError) as e:
        raise UserError(f"{path} is damaged or from another version: {e}") from None


def resumed_config(saved: TrainConfig, settings: dict[str, Any], workdir: Path) -> TrainConfig:
    """`saved`, with the user's new length of training; UserError naming every other setting that differs.

    Settings that the user does not name again keep their saved values. Paths may be named anew: whether they lead to
    the same data is seen when these are read.
    """
    moved = {name: settings[name] for name in PATHS if name in settings and getattr(saved, name) is not None}
    settings = {name: value for name, value in settings.items() if name not in moved}
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
        longer |= {"total_steps": None, "fits": ()}
        if "epochs" in longer and "max_steps" not in longer:
            longer["max_steps"] = None
        if "epochs" in longer:
            longer["max_minutes"] = None
    return dataclasses.replace(saved, **longer, **moved)
