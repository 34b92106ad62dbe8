"""Image-text retrieval on a split, during training and for runs and converted weights."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from remoteclip_jax.clip.model import CLIP, Variables
from remoteclip_jax.data.captions.reading import read_captions
from remoteclip_jax.data.holdout import hold_out, without_trained_files
from remoteclip_jax.data.reading import dataset_summary
from remoteclip_jax.data.splits import TRAIN, VAL, split_role
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError
from remoteclip_jax.evaluation.embedding import make_image_embedder, make_text_embedder
from remoteclip_jax.evaluation.retrieval_file import describe, retrieval_figures
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.evaluation_data import EvalSettings
from remoteclip_jax.tasks.loading import load

from .batches import Captions
from .config import ContrastConfig
from .data import caption_source

Metrics = dict[str, float]
__all__ = ["describe", "evaluate", "make_evaluator"]


def make_evaluator(model: CLIP, dataset: Dataset, *, batch_size: int, image_size: int) -> Callable[..., Metrics]:
    """A function from variables to the recalls of `dataset` (see `evaluation.retrieval`). A second argument restricts
    it to so many images. It is compiled once."""
    measure = make_measure(model, dataset, batch_size=batch_size, image_size=image_size)

    def evaluate(variables: Variables, images: int | None = None) -> Metrics:
        return {name: value for name, value in measure(variables, images).items() if "recall" in name}

    return evaluate


def make_measure(model: CLIP, dataset: Dataset, *, batch_size: int, image_size: int) -> Callable[..., dict[str, Any]]:
    """Like `make_evaluator`, but to all `retrieval_figures`, with a note on captions that are too long."""
    embed_images = make_image_embedder(model, batch_size=batch_size, image_size=image_size)
    embed_texts = make_text_embedder(model.config)
    captions = Captions(dataset, model.config.context_length)

    def measure(variables: Variables, images: int | None = None) -> dict[str, Any]:
        subset = dataclasses.replace(dataset, examples=dataset.examples[:images])
        image_of_text = np.repeat(np.arange(len(subset)), np.diff(captions.first[: len(subset) + 1]))
        ids = captions.ids[: len(image_of_text)]
        figures = retrieval_figures(embed_images(variables, subset), embed_texts(variables, ids), image_of_text)
        if captions.truncated:
            length = model.config.context_length
            figures["notes"].append(f"{captions.truncated} captions are longer than {length} tokens, and were cut")
        return {**figures, "truncated": captions.truncated}

    return measure


def evaluate(run: RunDirectory, config: TrainConfig | None, settings: EvalSettings) -> dict[str, Any]:
    """Retrieve within a split, with the best checkpoint of a run that embeds images, or with converted weights
    (`config` is None). Writes `eval/SPLIT/metrics.json` (see `RunDirectory.evaluation`) and returns its content."""
    clip = load(run.root)
    if not clip.has_text_tower:
        raise UserError(
            f"{run.root} has no text tower, since it was trained from --text_embeddings, and captions need one: name "
            "another run, or converted weights"
        )
    source, data_dir = evaluated_captions(run, config, settings)
    dataset = read_evaluation_split(source, data_dir, config, settings)
    print(dataset_summary(data_dir, [dataset]))
    figures = make_measure(
        CLIP(clip.config, dtype=jnp.dtype(clip.dtype)),
        dataset,
        batch_size=settings.batch_size or max(config.batch_size if config else 0, 32),
        image_size=config.image_size if config else clip.config.image_size,
    )(clip.variables)
    result = {
        "evaluation": "retrieval",
        **figures,
        "data_dir": str(data_dir),
        "captions_file": str(source),
        "notes": [*dataset.notes, *figures["notes"]],
    }
    directory = run.evaluation(settings.split, settings.evaluation)
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / "metrics.json", json.dumps(result, indent=2) + "\n")
    return result


def evaluated_captions(run: RunDirectory, config: TrainConfig | None, settings: EvalSettings) -> tuple[Path, Path]:
    """The captions, and the folder of their images: the user's, else those of a `contrast` run. UserError if neither
    names any."""
    if settings.captions or settings.data_dir:
        captions, data_dir = (str(path) if path else None for path in (settings.captions, settings.data_dir))
        config = ContrastConfig(captions=captions, data_dir=data_dir)
    if not isinstance(config, ContrastConfig):
        raise UserError(
            f"{run.root} has no captions of its own: name them with --captions=FILE, and the folder of their images "
            "with --data_dir=DIR"
        )
    return caption_source(config, run)


def read_evaluation_split(source: Path, data_dir: Path, config: TrainConfig | None, settings: EvalSettings) -> Dataset:
    """The split to evaluate. If it is the validation share of a run's training images, these images."""
    bands = settings.bands or (config.bands if config else None)
    skip_broken = settings.skip_broken or bool(config and config.skip_broken)

    def read(split: str) -> Dataset:
        return read_captions(source, split, data_dir, bands=bands, skip_broken=skip_broken)

    own = isinstance(config, ContrastConfig) and settings.captions is None and settings.data_dir is None
    if own and config and config.val_share is not None and split_role(settings.split) == VAL:
        held_out = hold_out(read(config.train_split or TRAIN), config.val_share, config.seed)[1]
        return dataclasses.replace(held_out, split=settings.split)
    dataset = read(settings.split)
    if own and config and split_role(settings.split) == VAL:  # as in training
        dataset = without_trained_files(dataset, read(config.train_split or TRAIN))
    return dataset
