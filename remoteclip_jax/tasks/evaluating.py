"""What `eval.py` does: a run, or converted weights, on a split of its own or of other data."""

import dataclasses
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from remoteclip_jax.clip.inference import RemoteCLIP, class_embeddings
from remoteclip_jax.clip.model import CLIP
from remoteclip_jax.clip.prompts import TEMPLATE
from remoteclip_jax.clip.text_embeddings import TextEmbeddings, load_text_embeddings
from remoteclip_jax.data.classes import find, read_class_file
from remoteclip_jax.data.reading import check_boxes, read_dataset, what_was_read
from remoteclip_jax.data.splits import TRAIN, VAL, role
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.data.validation import take_share
from remoteclip_jax.data.views import check_size, resized_views
from remoteclip_jax.data.views import told as sizes_told
from remoteclip_jax.detector.detections import check_max_detections
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.errors import UserError
from remoteclip_jax.evaluation.detection import indices, table
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.report import write_report
from remoteclip_jax.runs.config import TrainConfig, load_config
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runtime.devices import AXIS
from remoteclip_jax.tasks.align.classification import make_evaluator
from remoteclip_jax.tasks.align.targets import drop_empty
from remoteclip_jax.tasks.detect.evaluation import write_evaluation
from remoteclip_jax.tasks.detect.prediction import make_predictor
from remoteclip_jax.tasks.loading import is_run, load, load_detector


@dataclass(frozen=True)
class EvalSettings:
    """What the user named; None means the run's own (`data_dir`, `classes`, …) or the default."""

    split: str = "test"
    data_dir: Path | None = None
    dataset_format: str = "auto"
    classes: Path | None = None
    text_embeddings: Path | None = None
    templates: Sequence[str] | None = None
    batch_size: int | None = None
    novel: Sequence[str] = ()
    image_size: int | None = None
    max_detections: int | None = None
    bands: tuple[int, ...] | None = None
    skip_broken: bool = False


def evaluate(workdir: Path, settings: EvalSettings) -> dict[str, Any]:
    """Evaluate, write `eval/SPLIT/metrics.json` into `workdir`, and return what was written.

    `workdir` is a run (its best checkpoint is used) or a directory of converted weights, which classify. UserError for
    whatever a user can put right.
    """
    run = RunDirectory(workdir)
    config = load_config(run.config) if is_run(workdir) else None
    if config and config.task == "detect":
        return _evaluate_detector(run, config, settings)
    for name in ("novel", "image_size", "max_detections"):
        if getattr(settings, name) not in (None, ()):
            raise UserError(f"--{name} is for runs of --task=detect; {workdir} is none")
    clip = load(workdir)
    dataset, known = _read_data(run, config, settings, clip.config.embed_dim)
    dataset, dropped = drop_empty(dataset)
    notes = list(dataset.notes)
    if dropped:
        notes.append(f"{dataset.split}: {dropped} images without objects skipped")
    if not len(dataset):
        raise UserError(f"{_data_dir(run, config, settings)}: no image of the split {settings.split!r} has an object")
    embeddings = _embeddings(clip, dataset.classes, known, settings.templates)
    defaults = config or TrainConfig(image_size=clip.config.image_size)
    batch_size = settings.batch_size or max(defaults.batch_size, 32)
    measure = make_evaluator(
        CLIP(clip.config, dtype=jnp.dtype(clip.dtype), axis_name=AXIS),
        jnp.asarray(embeddings),
        defaults.temperature,
        dataset,
        batch_size=batch_size,
        image_size=defaults.image_size,
        label=defaults.label,
    )
    result = {
        **measure(clip.variables),
        "images": len(dataset),
        "skipped": dropped,
        "data_dir": str(_data_dir(run, config, settings)),
        "classes": list(dataset.classes),
        "templates": list(settings.templates or ()),
        "notes": notes,
    }
    directory = run.evaluation(settings.split)
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / "metrics.json", json.dumps(result, indent=2) + "\n")
    if config:
        write_report(run)
    return result


def told(result: dict[str, Any]) -> str:
    """A result for the screen: first what was dropped or repaired while the data were read, then the figures."""
    lines = [*result.get("notes", ())]
    if "map" in result:
        most, views = result["max_detections"], sizes_told(result["views"])
        lines.append(f"{result['images']} images, predicted at {views} pixels, at most {most} detections in each")
        return "\n".join([*lines, table(result)])
    shares = "  ".join(f"{name} {100 * result[key]:.2f} %" for name, key in (("top-1", "top1"), ("top-5", "top5")))
    return "\n".join([*lines, f"images {result['images']}  {shares}", f"loss {result['loss']:.4f}"])


def _evaluate_detector(run: RunDirectory, config: TrainConfig, settings: EvalSettings) -> dict[str, Any]:
    detector = load_detector(run.root)
    dataset, known = _read_data(run, config, settings, detector.clip.embed_dim)
    data_dir = _data_dir(run, config, settings)
    check_boxes(dataset, data_dir)
    indices(settings.novel, dataset.classes)  # a typing error must not show after minutes
    embeddings = _embeddings(detector.text, dataset.classes, known, settings.templates)
    views, most = detector.views, detector.max_detections
    if settings.max_detections is not None:
        check_max_detections(settings.max_detections)
        most = settings.max_detections
    if settings.image_size:
        check_size(settings.image_size)
        views = resized_views(views, settings.image_size)
    predict = make_predictor(
        Detector(detector.clip, detector.config, dtype=jnp.dtype(detector.dtype), axis_name=AXIS),
        jnp.asarray(embeddings),
        dataset.classes,
        batch_size=settings.batch_size or config.batch_size,
        views=views,
        max_detections=most,
    )
    facts = {
        "data_dir": str(data_dir),
        "views": views,
        "templates": list(settings.templates or ()),
        "max_detections": most,
    }
    found = predict(detector.variables, dataset)
    result = write_evaluation(dataset, found, run.evaluation(settings.split), facts, settings.novel)
    write_report(run)
    return result


def _read_data(
    run: RunDirectory, config: TrainConfig | None, settings: EvalSettings, dim: int
) -> tuple[Dataset, TextEmbeddings | None]:
    """The split, and the class embeddings that are known without a text tower: the user's, else the run's."""
    own_format = config.dataset_format if config and settings.data_dir is None else "auto"
    dataset_format = settings.dataset_format if settings.dataset_format != "auto" else own_format
    stored = load_text_embeddings(run.text_embeddings) if run.text_embeddings.exists() else None
    given = load_text_embeddings(settings.text_embeddings, dim) if settings.text_embeddings else None
    classes = _class_names(settings, given, stored)
    bands = settings.bands or (config.bands if config else None)
    data_dir = _data_dir(run, config, settings)
    skip_broken = settings.skip_broken or bool(config and config.skip_broken)
    read = functools.partial(
        read_dataset, data_dir, dataset_format=dataset_format, classes=classes, bands=bands, skip_broken=skip_broken
    )
    if config and config.val_share is not None and settings.data_dir is None and role(settings.split) == VAL:
        train = read(config.train_split or TRAIN)  # the run took its validation from these
        train = drop_empty(train)[0] if config.task == "align" else train
        dataset = dataclasses.replace(take_share(train, config.val_share, config.seed)[1], split=settings.split)
    else:
        dataset = read(settings.split)
    print(what_was_read(data_dir, [dataset]))
    return dataset, given or stored


def _data_dir(run: RunDirectory, config: TrainConfig | None, settings: EvalSettings) -> Path:
    return settings.data_dir or _own_data(run, config)


def _own_data(run: RunDirectory, config: TrainConfig | None) -> Path:
    if config is None:
        raise UserError(f"{run.root} holds weights, not a run: say with --data_dir what to evaluate on")
    return Path(config.data_dir) if config.data_dir else run.data


def _class_names(
    settings: EvalSettings, given: TextEmbeddings | None, stored: TextEmbeddings | None
) -> tuple[str, ...] | None:
    """The user's list, else the names in the user's embeddings, else the run's on its own data, else the data's own."""
    if settings.classes:
        return read_class_file(settings.classes)
    if given:
        return given.class_names
    return stored.class_names if stored and settings.data_dir is None else None


def _embeddings(
    clip: RemoteCLIP | None, classes: Sequence[str], known: TextEmbeddings | None, templates: Sequence[str] | None
) -> np.ndarray:
    """Rows of `known` where it has every class and no templates were asked for; else encoded by the text tower."""
    if known is not None and templates is None:
        rows = [find(name, known.class_names) for name in classes]
        if None not in rows:
            return known.embeddings[np.array(rows)]
    if clip is None or not clip.has_text_tower:
        names = ", ".join(known.class_names) if known else "none"
        raise UserError(
            f"this run has no text tower (it was trained from --text_embeddings) and cannot encode other names or "
            f"templates; stored names: {names}; others can be given as an npz of their own with --text_embeddings"
        )
    return np.asarray(class_embeddings(clip, classes, templates or (TEMPLATE,)))
