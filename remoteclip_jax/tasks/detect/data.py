"""The data of a `detect` run."""

import dataclasses

from remoteclip_jax.data.reading import require_boxes
from remoteclip_jax.runs.data import RunData
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.splits import read_splits

from .batches import surplus_notes
from .config import DetectConfig
from .novel import without_classes, without_images_of


def read(config: DetectConfig, run: RunDirectory) -> RunData:
    """The splits of a run, including the test split. Training and validation are without the novel classes."""
    data = read_splits(config, run, require_boxes, test=True)
    train, val, notes = data.train, data.val, data.notes
    if config.novel:
        val = without_images_of(val, config.novel) if val else None
        train = without_classes(without_images_of(train, config.novel), config.novel)
        notes += tuple(note for dataset in (train, val) if dataset for note in dataset.notes)
    notes += surplus_notes(train, config.max_objects)
    return dataclasses.replace(data, train=train, val=val, notes=tuple(dict.fromkeys(notes)))
