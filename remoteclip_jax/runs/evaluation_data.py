"""The data of an evaluation: a split of the run's own data or of other data, and the embeddings of its classes."""

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from remoteclip_jax.clip.inference import RemoteCLIP, class_embeddings
from remoteclip_jax.clip.prompts import TEMPLATE
from remoteclip_jax.clip.text_embeddings import TextEmbeddings, load_text_embeddings
from remoteclip_jax.data.classes import find_class_index, read_class_file
from remoteclip_jax.data.holdout import hold_out
from remoteclip_jax.data.reading import dataset_summary, read_dataset
from remoteclip_jax.data.splits import TRAIN, VAL, split_role
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.splits import Refine, data_directory
from remoteclip_jax.runs.summary import has_validation


@dataclass(frozen=True)
class EvalSettings:
    """The user's settings for an evaluation. None stands for the run's own (`data_dir`, `classes`, …) or the default.

    `evaluation` names another evaluation than the run's own. `captions` is the file of captions for retrieval. Without
    `frozen_tower` a detector's own scores are those of all classes.
    """

    split: str = "test"
    evaluation: str | None = None
    captions: Path | None = None
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
    frozen_tower: bool = True


def read_evaluation_split(
    run: RunDirectory, config: TrainConfig | None, settings: EvalSettings, dim: int, refine: Refine
) -> tuple[Dataset, TextEmbeddings | None]:
    """The split to evaluate, and the class embeddings that are stored: the user's, else the run's, else None.

    `config` is None for converted weights. `dim` is the length of an embedding. `refine` is the task's selection of
    images. Training applies it before it takes a share of the images for validation, so it is repeated here.
    """
    own_format = config.dataset_format if config and settings.data_dir is None else "auto"
    dataset_format = settings.dataset_format if settings.dataset_format != "auto" else own_format
    of_run = load_text_embeddings(run.text_embeddings) if run.text_embeddings.exists() else None
    of_user = load_text_embeddings(settings.text_embeddings, dim) if settings.text_embeddings else None
    classes = _class_names(settings, of_user, of_run)
    bands = settings.bands or (config.bands if config else None)
    data_dir = evaluation_data_dir(run, config, settings)
    skip_broken = settings.skip_broken or bool(config and config.skip_broken)
    read = functools.partial(
        read_dataset, data_dir, dataset_format=dataset_format, classes=classes, bands=bands, skip_broken=skip_broken
    )
    if config and config.val_share is not None and settings.data_dir is None and split_role(settings.split) == VAL:
        train = refine(read(config.train_split or TRAIN), data_dir)  # the run took its validation images from these
        dataset = dataclasses.replace(hold_out(train, config.val_share, config.seed)[1], split=settings.split)
    else:
        dataset = read(settings.split)
    print(dataset_summary(data_dir, [dataset]))
    return dataset, of_user or of_run


def evaluates_validation(run: RunDirectory, config: TrainConfig, settings: EvalSettings) -> bool:
    """Whether `settings` name the split that the run was validated on, with the run's own classes, bands, sizes and
    numbers of detections. UserError if the run's summary is damaged."""
    free = {name: getattr(settings, name) for name in ("split", "batch_size", "novel", "skip_broken")}
    split, own = settings.split, config.val_split or VAL
    same_split = split == own or (split_role(split) == VAL and split_role(own) == VAL)
    return same_split and settings == EvalSettings(**free) and has_validation(run)


def evaluation_data_dir(run: RunDirectory, config: TrainConfig | None, settings: EvalSettings) -> Path:
    """The folder of the data to evaluate on. UserError if neither the user nor a run names one."""
    if settings.data_dir:
        return settings.data_dir
    if config is None:
        raise UserError(f"{run.root} holds weights, not a run: name the data to evaluate on with --data_dir")
    return data_directory(config, run)


def _class_names(
    settings: EvalSettings, of_user: TextEmbeddings | None, of_run: TextEmbeddings | None
) -> tuple[str, ...] | None:
    """The user's list, else the names in the user's embeddings, else, on the run's own data, the run's; else None: the
    data decide."""
    if settings.classes:
        return read_class_file(settings.classes)
    if of_user:
        return of_user.class_names
    return of_run.class_names if of_run and settings.data_dir is None else None


def evaluation_embeddings(
    clip: RemoteCLIP | None, classes: Sequence[str], stored: TextEmbeddings | None, templates: Sequence[str] | None
) -> np.ndarray:
    """The embeddings [k, d] of `classes`: rows of `stored` if it has every class and no templates are given, else
    encoded by the text tower. UserError if there is no text tower."""
    if stored is not None and templates is None:
        rows = [find_class_index(name, stored.class_names) for name in classes]
        if None not in rows:
            return stored.embeddings[np.array(rows)]
    if clip is None or not clip.has_text_tower:
        names = ", ".join(stored.class_names) if stored else "none"
        raise UserError(
            f"this run has no text tower (it was trained from --text_embeddings) and cannot encode other names or "
            f"templates; stored names: {names}; give the embeddings of others as an npz with --text_embeddings"
        )
    return np.asarray(class_embeddings(clip, classes, templates or (TEMPLATE,)))
