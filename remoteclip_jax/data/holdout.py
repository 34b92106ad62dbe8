"""Keeping validation apart from training: images held out for validation, and images that two splits share."""

import dataclasses
import hashlib
from collections import defaultdict

import numpy as np

from remoteclip_jax.data.image_sources import ImageSource, open_source, source_key, source_size
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.errors import UserError

FINGERPRINT_BYTES = 4096  # from the middle of a file; files that agree in these and in size are compared in full
COMPARED_BYTES = 2**20  # at a time

Fingerprint = tuple[int, bytes]


def hold_out(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Split about a `share` of the images, at least one, off `dataset`. Returns the rest, and these as the split "val".

    The choice depends on the seed alone. Copies of one file are always on the same side. UserError if no image is left
    to train on.
    """
    copies: dict[Fingerprint, list[int]] = defaultdict(list)
    for index, example in enumerate(dataset.examples):
        copies[_fingerprint(example.image)].append(index)
    groups, wanted = list(copies.values()), max(1, round(share * len(dataset)))
    held_out: set[int] = set()
    for group in np.random.default_rng([seed, 3]).permutation(len(groups)):
        if len(held_out) < wanted:
            held_out.update(groups[group])
    if len(held_out) == len(dataset):
        raise UserError(f"--val_share={share:g} leaves none of the {len(dataset)} images to train on")
    note = (
        f"val: {len(held_out)} of the {len(dataset)} images of {dataset.split!r} are taken for validation "
        f"(--val_share={share:g}), and not trained on"
    )
    sides: tuple[list[Example], list[Example]] = ([], [])
    for index, example in enumerate(dataset.examples):
        sides[index in held_out].append(example)
    return (
        dataclasses.replace(dataset, examples=tuple(sides[0])),
        dataclasses.replace(dataset, split="val", examples=tuple(sides[1]), notes=(note,), source_split=""),
    )


def without_shared_files(dataset: Dataset, train: Dataset) -> tuple[Dataset, int]:
    """`dataset` without the files that `train` has too, and how many were removed."""
    trained = {source_key(example.image) for example in train.examples}
    kept = tuple(example for example in dataset.examples if source_key(example.image) not in trained)
    return dataclasses.replace(dataset, examples=kept), len(dataset) - len(kept)


def without_trained_files(dataset: Dataset, train: Dataset) -> Dataset:
    """`dataset`, which validates, without the files that `train` has too; a note counts them."""
    rest, shared = without_shared_files(dataset, train)
    note = f"{rest.split}: {shared} images left out, because they are trained on"
    return dataclasses.replace(rest, notes=(*rest.notes, note)) if shared else rest


def duplicate_notes(dataset: Dataset, train: Dataset) -> tuple[str, ...]:
    """A note that counts the images of `dataset` that are byte-for-byte copies of training images; else empty."""
    trained: dict[Fingerprint, list[ImageSource]] = defaultdict(list)
    sizes = {source_size(example.image) for example in dataset.examples}
    for example in train.examples:
        if source_size(example.image) in sizes:
            trained[_fingerprint(example.image)].append(example.image)
    copies = [
        (example.image, original)
        for example in dataset.examples
        if (original := _first_equal(example.image, trained.get(_fingerprint(example.image), [])))
    ]
    if not copies:
        return ()
    return (
        f"{dataset.split}: {len(copies)} of {len(dataset)} images are trained on, too, so that they do not "
        f"measure generalisation (first: {copies[0][0]} is {copies[0][1]})",
    )


def _first_equal(image: ImageSource, candidates: list[ImageSource]) -> ImageSource | None:
    return next((candidate for candidate in candidates if _are_equal(candidate, image)), None)


def _are_equal(a: ImageSource, b: ImageSource) -> bool:
    with open_source(a) as first, open_source(b) as second:
        while (part := first.read(COMPARED_BYTES)) == second.read(COMPARED_BYTES):
            if not part:
                return True
    return False


def _fingerprint(image: ImageSource) -> Fingerprint:
    size = source_size(image)
    with open_source(image) as file:
        file.seek(size // 2)
        return size, hashlib.sha256(file.read(FINGERPRINT_BYTES)).digest()
