"""Evaluate a run or converted weights: `python eval.py --workdir=DIR --split=test`; see --help."""

from pathlib import Path
from typing import get_args

from absl import flags

from remoteclip_jax import errors
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.runs.config import DatasetFormat

_WORKDIR = DEFINE_path("workdir", None, "run directory, or converted weights for zero-shot classification")
_SPLIT = flags.DEFINE_string("split", "test", "the split of the data")
_DATA_DIR = DEFINE_path("data_dir", None, "other data than the run's own")
_FORMAT = flags.DEFINE_enum("dataset_format", "auto", get_args(DatasetFormat), "of --data_dir")
_CLASSES = DEFINE_path("classes", None, "file of class names, one per line")
_TEXTS = DEFINE_path("text_embeddings", None, "npz with class_names[K] and embeddings[K, D] to use instead")
_TEMPLATES = flags.DEFINE_string("templates", None, "a template with {}, or a file of them: averaged over all")
_BATCH = flags.DEFINE_integer("batch_size", None, "images per batch, over all devices", lower_bound=1)
_NOVEL = flags.DEFINE_list("novel", [], "detect: novel classes, for AP of base, novel and their harmonic mean")
_SIZE = flags.DEFINE_integer(
    "image_size", None, "detect: pixels of the finest view at which images are predicted (the run's)"
)
_MAX_DETECTIONS = flags.DEFINE_integer("max_detections", None, "detect: at most this many per image (the run's)")
_BANDS = flags.DEFINE_string(
    "bands", None, "red, green and blue of images with more than three bands, such as 3,2,1 (the run's)"
)
_SKIP = flags.DEFINE_bool("skip_broken", False, "leave out images that cannot be read, and say which")
_EMBEDDINGS = DEFINE_path(
    "embeddings", None, "npz of image and text embeddings to classify, instead of --workdir; see docs/evaluation.md"
)


def main() -> None:
    """Evaluate what the flags name, and print the figures."""
    from remoteclip_jax.clip.prompts import parse_templates
    from remoteclip_jax.data.bands import parse_bands
    from remoteclip_jax.runtime.compilation import enable_compilation_cache
    from remoteclip_jax.runtime.memory import keep_freed_memory

    keep_freed_memory()
    enable_compilation_cache()
    templates = None
    if _TEMPLATES.value is not None:
        templates = parse_templates(_TEMPLATES.value)
    if _EMBEDDINGS.value and not _WORKDIR.value:
        from remoteclip_jax.evaluation.zero_shot import evaluate_embeddings
        from remoteclip_jax.tasks.registry import DEFAULT_TASK, find_task

        print(find_task(DEFAULT_TASK).describe(evaluate_embeddings(Path(_EMBEDDINGS.value), templates)))
    elif _WORKDIR.value and not _EMBEDDINGS.value:
        from remoteclip_jax.runs.evaluation_data import EvalSettings
        from remoteclip_jax.tasks.evaluating import describe, evaluate

        settings = EvalSettings(
            split=_SPLIT.value,
            data_dir=_path(_DATA_DIR.value),
            dataset_format=_FORMAT.value,
            classes=_path(_CLASSES.value),
            text_embeddings=_path(_TEXTS.value),
            templates=templates,
            batch_size=_BATCH.value,
            novel=tuple(name.strip() for name in _NOVEL.value),
            image_size=_SIZE.value,
            max_detections=_MAX_DETECTIONS.value,
            bands=parse_bands(_BANDS.value) if _BANDS.value else None,
            skip_broken=_SKIP.value,
        )
        workdir = Path(_WORKDIR.value)
        print(describe(workdir, evaluate(workdir, settings)))
    else:
        raise errors.UserError("name what to evaluate: either --workdir=DIR or --embeddings=FILE.npz")


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None


def run() -> None:
    """The command `remoteclip-eval`."""
    errors.run(main)
