"""Evaluate a run or converted weights: `python eval.py --workdir=DIR --split=test`; see --help."""

from pathlib import Path
from typing import get_args

from absl import flags

from remoteclip_jax import errors
from remoteclip_jax.clip.template_sets import TEMPLATE_SETS
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.runs.config import DatasetFormat

_WORKDIR = DEFINE_path("workdir", None, "run directory, or converted weights for zero-shot classification or retrieval")
_TASK = flags.DEFINE_string(
    "task", None, "classification, retrieval or detection (the run's own; of weights, classification)"
)
_CAPTIONS = DEFINE_path(
    "captions", None, "retrieval: captions, whose images are in --data_dir (the run's own, or DATA_DIR/captions.json)"
)
_SPLIT = flags.DEFINE_string("split", "test", "the split of the data")
_DATA_DIR = DEFINE_path("data_dir", None, "other data than the run's own")
_FORMAT = flags.DEFINE_enum("dataset_format", "auto", get_args(DatasetFormat), "of --data_dir")
_CLASSES = DEFINE_path("classes", None, "file of class names, one per line")
_TEXTS = DEFINE_path("text_embeddings", None, "npz with class_names[K] and embeddings[K, D] to use instead")
_TEMPLATES = flags.DEFINE_string(
    "templates", None, f"a template with {{}}, a file of them, or {' or '.join(TEMPLATE_SETS)}: averaged over all"
)
_BATCH = flags.DEFINE_integer("batch_size", None, "images per batch, over all devices", lower_bound=1)
_NOVEL = flags.DEFINE_list("novel", [], "detect: novel classes, for AP of base, novel and their harmonic mean")
_SIZE = flags.DEFINE_integer(
    "image_size", None, "detect: pixels of the finest view at which images are predicted (the run's)"
)
_MAX_DETECTIONS = flags.DEFINE_integer("max_detections", None, "detect: at most this many per image (the run's)")
_FROZEN = flags.DEFINE_bool(
    "frozen_tower", True, "detect: score novel classes with the frozen tower that the run started from, too"
)
_BANDS = flags.DEFINE_string(
    "bands", None, "red, green and blue of images with more than three bands, such as 3,2,1 (the run's)"
)
_SKIP = flags.DEFINE_bool("skip_broken", False, "leave out images that cannot be read, and say which")
_EMBEDDINGS = DEFINE_path(
    "embeddings", None, "npz of image and text embeddings to evaluate, instead of --workdir; see docs/evaluation.md"
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
    if bool(_EMBEDDINGS.value) == bool(_WORKDIR.value):
        raise errors.UserError("name what to evaluate: either --workdir=DIR or --embeddings=FILE.npz")
    from remoteclip_jax.runs.evaluation_data import EvalSettings
    from remoteclip_jax.tasks.evaluating import describe, evaluate, evaluate_embeddings

    settings = EvalSettings(
        split=_SPLIT.value,
        evaluation=_TASK.value,
        captions=_path(_CAPTIONS.value),
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
        frozen_tower=_FROZEN.value,
    )
    workdir = _path(_WORKDIR.value)
    result = evaluate(workdir, settings) if workdir else evaluate_embeddings(Path(_EMBEDDINGS.value), settings)
    print(describe(workdir, result, settings.evaluation))


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None


def run() -> None:
    """The command `remoteclip-eval`."""
    errors.run(main)
