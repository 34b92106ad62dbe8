"""Novel classes: held out of training, and later detected by name alone (open-vocabulary detection)."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from remoteclip_jax.data.classes import class_index
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError


def without_images_of(dataset: Dataset, novel: Sequence[str]) -> Dataset:
    """`dataset` without the images that show one of `novel`. Its classes stay the same.

    Removing only their boxes, as the splits of OV-COCO do (Bansal et al. 2018), would teach that these objects are
    background. UserError for a name that is not a class, and if no image is left.
    """
    held_out = [class_index(name, dataset.classes, "--novel") for name in novel]
    kept = tuple(
        example
        for example in dataset.examples
        if not np.isin(np.concatenate([example.labels, example.ignored_labels]), held_out).any()
    )
    if not kept:
        raise UserError(f"--novel: every image of the split {dataset.split!r} shows one of {', '.join(novel)}")
    note = f"{dataset.split}: {len(dataset) - len(kept)} of {len(dataset)} images left out, which show novel classes"
    return dataclasses.replace(dataset, examples=kept, notes=(*dataset.notes, note))


def without_classes(dataset: Dataset, novel: Sequence[str]) -> Dataset:
    """`dataset` with `novel` removed from its classes. None of its images may show them. UserError if no class is
    left."""
    held_out = {class_index(name, dataset.classes, "--novel") for name in novel}
    base = [i for i in range(len(dataset.classes)) if i not in held_out]
    if not base:
        raise UserError("--novel holds out every class: none is left to learn")
    new_label = np.full(len(dataset.classes), -1, np.int32)
    new_label[base] = np.arange(len(base))
    examples = tuple(
        dataclasses.replace(
            example,
            labels=new_label[example.labels],
            ignored_labels=new_label[example.ignored_labels],
            annotations=None,
        )
        for example in dataset.examples
    )
    classes = tuple(dataset.classes[i] for i in base)
    return dataclasses.replace(dataset, classes=classes, examples=examples, category_ids=None)
