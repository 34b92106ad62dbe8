"""Classes held out of training, to be found by their names alone afterwards (open-vocabulary detection)."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from remoteclip_jax.data.classes import class_index
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError


def without_images_of(dataset: Dataset, novel: Sequence[str]) -> Dataset:
    """`dataset` without the images that show one of `novel`; its classes stay.

    Leaving out their boxes alone, as the splits of OV-COCO do (Bansal et al. 2018), would teach that these objects are
    ground. UserError for a name that is no class, and where no image is left.
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


def base_classes(dataset: Dataset, novel: Sequence[str]) -> Dataset:
    """`dataset`, which shows none of `novel`, without them among its classes. UserError where none is left."""
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
