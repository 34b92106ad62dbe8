"""The data of an `align` run."""

import dataclasses
from pathlib import Path

from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.data import RunData
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.splits import read_splits

from .config import AlignConfig
from .targets import without_empty_images


def read(config: AlignConfig, run: RunDirectory) -> RunData:
    """The splits of a run, without images that have no object."""
    return read_splits(config, run, refine)


def refine(dataset: Dataset, data_dir: Path) -> Dataset:
    """`dataset` without the images that have no object, since they have no target. UserError if none is left."""
    dataset, dropped = without_empty_images(dataset)
    if not len(dataset):
        raise UserError(f"{data_dir}: no image of the split {dataset.split!r} has an object")
    notes = (f"{dataset.split}: {dropped} images without objects skipped",) if dropped else ()
    return dataclasses.replace(dataset, notes=(*dataset.notes, *notes))
