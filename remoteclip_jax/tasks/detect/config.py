"""Settings of `detect`, and its presets."""

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
    """`detector` has the model's shape and loss weights.

    Images are predicted whole at the sizes `views` (see `data.views`). For training, windows of `image_size` are cut
    from these, `jitter` times larger or smaller; a share `mosaic` of the samples is put together from four tiles. Where
    there are several classes, the first `align_share` of the steps align the image tower on crops of single objects.
    Images have `max_objects` boxes at most, and get `max_detections` at most. `novel` names classes held out: training
    and validation leave out every image that shows one, the test has them all.
    """

    detector: DetectorConfig = DetectorConfig()
    views: tuple[int, ...] = setting(
        (800,), "sizes in pixels to look at whole images, such as 128,256,896", parse=parse_views
    )
    jitter: float = setting(1.0, between=(1, 100))
    mosaic: float = setting(0.0, between=(0, 1))
    align_share: float = setting(0.0, between=(0, 1))
    max_objects: int = setting(100, between=(1, 10_000))
    max_detections: int = setting(MAX_DETECTIONS, "at most this many an image (300)")
    novel: tuple[str, ...] = setting((), "classes to hold out of training, for an open-vocabulary test")
    decay_vectors: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_max_detections(self.max_detections)
        check_views(self.views)


CONFIG = DetectConfig
PRESETS = {
    # Two CPU cores, random weights. Real airplanes: mAP@50 78.0 % in 6 minutes, 88.8 % in 20; 200 synthetic images of
    # 20 classes: 60.1 % in 16 minutes.
    "small": DetectConfig(
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
    ),
    # A GPU and converted RemoteCLIP weights. Not trained to its end yet.
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
            queries=300,
            feed_forward=1024,
            class_loss="varifocal",
            prior=0.01,
            denoising=200,
            contrast=0.5,  # from real weights I_g knows what an image shows
        ),
        synthetic_train=1500,
        synthetic_val=100,
        synthetic_test=100,
    ),
    # The whole pipeline in a minute or two, for a first look and for tests; it detects little.
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


def default_preset(accelerator: bool) -> str:
    """The preset where the user names none."""
    return "dior" if accelerator else "small"


def complete(config: DetectConfig, named: Mapping[str, Any]) -> DetectConfig:
    """`config` with what follows from starting at `weights`: what has been trained keeps its batch statistics, moves
    less, and needs no alignment. What the user has `named` stays."""
    if not config.weights:
        return config
    return dataclasses.replace(
        config,
        backbone=named.get("backbone", "slow"),
        detector=named.get("detector", config.detector.replace(train_norm=False)),
        align_share=named.get("align_share", 0.0),
    )
