"""Train: `python train.py` fine-tunes the image tower of RemoteCLIP on drawn data; see --help for your own."""

from pathlib import Path
from typing import Any

from absl import flags

from remoteclip_jax import errors
from remoteclip_jax.path_flags import DEFINE_path

_WORKDIR = DEFINE_path("workdir", None, "run directory; started again, a run resumes (runs/TASK-DATE-TIME)")
# Unset flags keep the preset's value, or on resuming the run's: so the defaults stand in the help text only.
SETTINGS = (
    flags.DEFINE_enum("task", None, ["align", "detect"], "what to train: the image tower, or a detector (align)"),
    flags.DEFINE_string("preset", None, "named settings: rn50 or tiny; for detect small, dior or tiny"),
    DEFINE_path("data_dir", None, "images and annotations; without it, synthetic data are drawn"),
    flags.DEFINE_enum("dataset_format", None, ["auto", "dior", "coco", "yolo", "folder"], "of --data_dir (auto)"),
    flags.DEFINE_string("train_split", None, "split to train on, such as trainval or train+val (train)"),
    flags.DEFINE_string("val_split", None, "split to validate on (val, valid, val2017, …, as the data call it)"),
    flags.DEFINE_string("test_split", None, "detect: split to evaluate at the end (test)"),
    flags.DEFINE_float("val_share", None, "take this share of the training images for validation, such as 0.1"),
    flags.DEFINE_bool("skip_broken", None, "leave out images that cannot be read, and say which"),
    flags.DEFINE_string("bands", None, "of images with more than three: red, green and blue, such as 3,2,1 (1,2,3)"),
    DEFINE_path("classes", None, "file of class names, one a line"),
    DEFINE_path("weights", None, "converted weights or a run (a detect run for detect only); else random"),
    DEFINE_path("text_embeddings", None, "npz with class_names[K] and embeddings[K, D]"),
    flags.DEFINE_list("novel", None, "detect: classes to hold out of training, for an open-vocabulary test"),
    flags.DEFINE_enum("label", None, ["first", "largest", "multi"], "label of an image with several objects (largest)"),
    flags.DEFINE_enum("augment", None, ["none", "flip", "full"], "flips and turns; full: crops and colours too (none)"),
    flags.DEFINE_integer("epochs", None, "passes over the training images (10)"),
    flags.DEFINE_integer("max_steps", None, "stop after this many steps"),
    flags.DEFINE_float("max_minutes", None, "as many steps as fit into this time, from start to report"),
    flags.DEFINE_integer("batch_size", None, "images a step, over all devices (8)"),
    flags.DEFINE_float("learning_rate", None, "AdamW's learning rate (1e-4)"),
    flags.DEFINE_enum("schedule", None, ["constant", "cosine", "step"], "the learning rate's course (constant)"),
    flags.DEFINE_integer("image_size", None, "side of the images in pixels, a multiple of 32 (224)"),
    flags.DEFINE_string("views", None, "detect: sizes in pixels to look at whole images, such as 128,256,896"),
    flags.DEFINE_integer("max_detections", None, "detect: at most this many an image (300)"),
    flags.DEFINE_enum("dtype", None, ["float32", "bfloat16"], "compute type; parameters stay float32 (float32)"),
    flags.DEFINE_integer("seed", None, "of the drawn data, the initialisation, shuffling and augmentation (0)"),
    flags.DEFINE_integer("checkpoint_every", None, "epochs between the checkpoints that are kept (5)"),
)


def main() -> None:
    from remoteclip_jax.data.depth import parse_bands
    from remoteclip_jax.data.views import parse_views
    from remoteclip_jax.runtime.compilation import keep_compiled_programs
    from remoteclip_jax.runtime.memory import keep_freed_memory
    from remoteclip_jax.training.loop import train  # after the flags, so that --help and wrong flags answer at once

    keep_freed_memory()
    keep_compiled_programs()
    settings: dict[str, Any] = {flag.name: flag.value for flag in SETTINGS if flag.present}
    if "views" in settings:
        settings["views"] = parse_views(settings["views"])
    if "bands" in settings:
        settings["bands"] = parse_bands(settings["bands"])
    if "novel" in settings:
        settings["novel"] = tuple(name.strip() for name in settings["novel"])
    train(settings, Path(_WORKDIR.value) if _WORKDIR.value else None)


if __name__ == "__main__":
    errors.run(main)
