"""The settings and presets of `detect`."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from remoteclip_jax.data.views import check_views, parse_views
from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.detector.detections import MAX_DETECTIONS, check_max_detections
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.fields import setting


@dataclass(frozen=True)
class DetectConfig(TrainConfig):
    """The settings of a `detect` run. `detector` has the model's dimensions and loss weights.

    Prediction sees the whole image at each size in `views` (see `data.views`). Training sees windows of `image_size`
    pixels of these, at a scale that is up to `jitter` times larger or smaller. A share `mosaic` of the samples are
    mosaics of four tiles. If there are several classes, the share `align_share` of the steps comes first and aligns the
    image tower on object crops. An image has at most `max_objects` objects in training, and gets at most
    `max_detections`. `novel` names classes to hold out: images that show them are left out of training and validation,
    but not of the test split.
    """

    detector: DetectorConfig = DetectorConfig()
    views: tuple[int, ...] = setting(
        (800,), "sizes in pixels at which whole images are predicted, such as 128,256,896", parse=parse_views
    )
    jitter: float = setting(1.0, between=(1, 100))
    mosaic: float = setting(0.0, between=(0, 1))
    align_share: float = setting(0.0, between=(0, 1))
    max_objects: int = setting(100, between=(1, 10_000))
    max_detections: int = setting(MAX_DETECTIONS, "at most this many per image (300)")
    novel: tuple[str, ...] = setting((), "classes to hold out of training, for an open-vocabulary test")
    decay_vectors: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_max_detections(self.max_detections)
        check_views(self.views)


CONFIG = DetectConfig
SMALL = DetectConfig(
    arch="small",
    image_size=256,
    views=(64, 128, 256, 896),
    jitter=1.15,
    mosaic=0.85,
    align_share=0.45,
    augment="flip",
    batch_size=4,
    epochs=10,
    validations=1,
    checkpoint_every=10,
    learning_rate=2e-3,
    schedule="cosine",
    weight_decay=0.05,
    beta2=0.99,
    clip_norm=5.0,
    ema=0.998,
    max_objects=48,
    synthetic_train=2400,
    synthetic_val=30,
    synthetic_test=100,
    synthetic_size=640,
)
PRESETS = {
    # Two CPU cores, random weights. Real airplanes: mAP@50 78.0 % in 6 minutes, 88.8 % in 20; 200 synthetic images of
    # 20 classes: 60.1 % in 16 minutes.
    "small": SMALL,
    # A GPU, random weights: the same recipe, which was made for them, with as many images a step as cost a GPU little.
    "scratch": dataclasses.replace(SMALL, batch_size=16),
    # A GPU and converted RemoteCLIP weights. Not yet trained to the end.
    "dior": DetectConfig(
        arch="RN50",
        image_size=800,
        views=(800,),
        jitter=1.6,
        augment="full",
        batch_size=16,
        dtype="bfloat16",
        epochs=36,
        checkpoint_every=6,
        learning_rate=1e-4,
        schedule="step",
        weight_decay=1e-4,
        clip_norm=0.1,
        ema=0.9999,
        max_objects=300,
        detector=DetectorConfig(
            width=256,
            heads=8,
            layers=6,
            queries=304,  # with the denoising queries a multiple of eight, which tensor cores want
            feed_forward=1024,
            class_loss="varifocal",
            prior=0.01,
            denoising=200,
        ),
        synthetic_train=1500,
        synthetic_val=100,
        synthetic_test=100,
    ),
    # The whole pipeline in a minute or two, for a first look and for tests. It detects little.
    "tiny": DetectConfig(
        arch="tiny",
        image_size=96,
        views=(128,),
        jitter=1.2,
        align_share=0.2,
        augment="full",
        epochs=4,
        validations=1,
        learning_rate=2e-3,
        schedule="cosine",
        weight_decay=0.05,
        clip_norm=5.0,
        ema=0.99,
        max_objects=16,
        detector=DetectorConfig(
            width=48, heads=4, layers=1, queries=40, predict_queries=80, feed_forward=96, denoising=20
        ),
        synthetic_train=64,
        synthetic_val=16,
        synthetic_test=16,
        synthetic_size=192,
    ),
}


def default_preset(accelerator: bool, weights: bool) -> str:
    """The preset if the user names none. The recipe of `dior` is one for trained weights: from random ones it learns
    slowly."""
    if not accelerator:
        return "small"
    return "dior" if weights else "scratch"


def complete(config: DetectConfig, settings: Mapping[str, Any]) -> DetectConfig:
    """`config` adapted to a start from `weights`: a trained image tower keeps its batch statistics, learns more slowly,
    and needs no alignment. The user's `settings` take precedence."""
    if not config.weights:
        return config
    return dataclasses.replace(
        config,
        backbone=settings.get("backbone", "slow"),
        detector=settings.get("detector", config.detector.replace(train_norm=False)),
        align_share=settings.get("align_share", 0.0),
    )
