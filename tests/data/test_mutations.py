"""Randomly damaged files are read, or refused with a UserError; nothing else may happen."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.errors import UserError
from tests.data.mutation import restructured, write_damaged
from tests.data.sample_datasets import coco_content, voc_xml, write_coco, write_flat, write_image, write_lines

MUTATIONS = 100
Damage = Callable[[np.random.Generator], None]
CATEGORIES = [
    {"id": 0, "name": "ports", "supercategory": "none"},
    {"id": 90, "name": "Dam", "supercategory": "ports"},
    {"id": 3, "name": "ship", "supercategory": "ports"},
]
LABELS = "0 0.3 0.45 0.4 0.5\n1 0.1 0.2 0.5 0.2 0.5 0.7\n0 .5 .5 .2 .2 0.9\n"
YAML = "path: .\ntrain: images/train\nval: [images/train]\nnc: 2\nnames:\n  0: ship\n  1: Dam\n"


def coco(root: Path) -> Damage:
    content = coco_content(categories=CATEGORIES)
    path = write_coco(root, content) / "annotations/instances_train.json"

    def apply(rng: np.random.Generator) -> None:
        if rng.random() < 0.6:
            path.write_text(json.dumps(restructured(content, rng)))
        else:
            write_damaged(path, json.dumps(content).encode(), rng)

    return apply


def yolo(root: Path) -> Damage:
    write_image(root / "images/train/a.jpg")
    write_lines(root / "labels/train/a.txt")

    def apply(rng: np.random.Generator) -> None:
        (root / "data.yaml").write_text(YAML)
        (root / "labels/train/a.txt").write_text(LABELS)
        if rng.random() < 0.5:
            write_damaged(root / "data.yaml", YAML.encode(), rng)
        else:
            write_damaged(root / "labels/train/a.txt", LABELS.encode(), rng)

    return apply


def dota(root: Path) -> Damage:
    write_image(root / "train/images/a.png")
    write_lines(root / "train/labelTxt/a.txt")
    content = b"gsd:0.1\n4 8 20 8 20 28 4 28 ship 0\n10 0 20 10 10 20 0 10 dam 1\n"

    def apply(rng: np.random.Generator) -> None:
        write_damaged(root / "train/labelTxt/a.txt", content, rng)

    return apply


def dior(root: Path) -> Damage:
    write_flat(root, "a")
    content = voc_xml([("ship", 4, 8, 20, 28), ("dam", 1, 1, 9, 9)]).encode()
    listed = b"a.jpg\n"

    def apply(rng: np.random.Generator) -> None:
        (root / "splits/train.txt").write_bytes(listed)
        (root / "annotations/a.xml").write_bytes(content)
        if rng.random() < 0.2:
            write_damaged(root / "splits/train.txt", listed, rng)
        else:
            write_damaged(root / "annotations/a.xml", content, rng)

    return apply


def outcomes(root: Path, apply: Damage, count: int, seed: int) -> Iterator[bool]:
    """For each mutation, whether it was read. Exceptions other than UserError pass through."""
    for number in range(count):
        apply(np.random.default_rng([seed, number]))
        read = False
        with suppress(UserError):
            dataset = read_dataset(root, "train")
            for example in dataset.examples:
                assert np.isfinite(example.boxes).all()
                assert ((example.boxes >= 0) & (example.boxes <= 1)).all()
                assert all(note.encode() for note in dataset.notes)
            read = True
        yield read


@pytest.mark.parametrize("make", [coco, yolo, dota, dior])
def test_randomly_damaged_files(tmp_path: Path, make: Callable[[Path], Damage]) -> None:
    read = list(outcomes(tmp_path, make(tmp_path), MUTATIONS, seed=0))
    assert 0 < sum(read) < MUTATIONS  # some are read and some refused, else the mutations are too weak or too strong
