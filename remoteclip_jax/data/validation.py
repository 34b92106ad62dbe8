"""What training must not have seen: a share of the images kept for validation, and images that two splits have."""

import dataclasses
import filecmp
import hashlib
import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.errors import UserError

PIECE = 4096  # bytes in the middle of a file, by which files of one size are told apart before they are compared


def take_share(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """`dataset` without about a `share` of its images, at least one, and these as the split "val". Which they are
    depends on the seed alone; copies of one file are never on both sides. UserError where nothing is left to train on.
    """
    kinds: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for index, example in enumerate(dataset.examples):
        kinds[_fingerprint(example.image)].append(index)
    groups, wanted = list(kinds.values()), max(1, round(share * len(dataset)))
    chosen: set[int] = set()
    for group in np.random.default_rng([seed, 3]).permutation(len(groups)):
        if len(chosen) < wanted:
            chosen.update(groups[group])
    if len(chosen) == len(dataset):
        raise UserError(f"--val_share={share:g} leaves none of the {len(dataset)} images to train on")
    note = (
        f"val: {len(chosen)} of the {len(dataset)} images of {dataset.split!r} are taken for validation "
        f"(--val_share={share:g}), and not trained on"
    )
    sides: tuple[list[Example], list[Example]] = ([], [])
    for index, example in enumerate(dataset.examples):
        sides[index in chosen].append(example)
    return (
        dataclasses.replace(dataset, examples=tuple(sides[0])),
        dataclasses.replace(dataset, split="val", examples=tuple(sides[1]), notes=(note,), found=""),
    )


def without_files_of(dataset: Dataset, train: Dataset) -> tuple[Dataset, int]:
    """`dataset` without the files that `train` has too, and how many these were."""
    trained = {os.path.realpath(example.image) for example in train.examples}
    kept = tuple(example for example in dataset.examples if os.path.realpath(example.image) not in trained)
    return dataclasses.replace(dataset, examples=kept), len(dataset) - len(kept)


def copies_in(dataset: Dataset, train: Dataset) -> tuple[str, ...]:
    """A note that counts the images of `dataset` whose bytes are those of a training image."""
    trained: dict[tuple[int, bytes], list[Path]] = defaultdict(list)
    sizes = {example.image.stat().st_size for example in dataset.examples}
    for example in train.examples:
        if example.image.stat().st_size in sizes:
            trained[_fingerprint(example.image)].append(example.image)
    copies = [
        (example.image, twin)
        for example in dataset.examples
        if (twin := next((p for p in trained.get(_fingerprint(example.image), ()) if _same(p, example.image)), None))
    ]
    if not copies:
        return ()
    return (
        f"{dataset.split}: {len(copies)} of {len(dataset)} images are trained on, too, so that they measure memory "
        f"(first: {copies[0][0]} is {copies[0][1]})",
    )


def _same(a: Path, b: Path) -> bool:
    return filecmp.cmp(a, b, shallow=False)


def _fingerprint(path: Path) -> tuple[int, bytes]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(size // 2)
        return size, hashlib.sha256(file.read(PIECE)).digest()
