"""Randomly damaged caption files are read, or refused with a UserError; nothing else may happen."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from remoteclip_jax.data.captions.reading import caption_splits, read_captions
from remoteclip_jax.errors import UserError
from tests.data.captions.sample_captions import coco_captions, rsicd_image, write_shard
from tests.data.mutation import restructured, write_damaged
from tests.data.sample_datasets import write_image, write_json

MUTATIONS = 150
Damage = Callable[[np.random.Generator], Path]


def json_file(content: object) -> Callable[[Path], Damage]:
    def make(root: Path) -> Damage:
        path = root / "captions.json"

        def apply(rng: np.random.Generator) -> Path:
            if rng.random() < 0.7:
                return write_json(path, restructured(content, rng))
            write_damaged(path, json.dumps(content).encode(), rng)
            return path

        return apply

    return make


def damaged_bytes(make_file: Callable[[Path], Path]) -> Callable[[Path], Damage]:
    def make(root: Path) -> Damage:
        path = make_file(root)
        content = path.read_bytes()

        def apply(rng: np.random.Generator) -> Path:
            if rng.random() < 0.3:
                path.write_bytes(content[: rng.integers(len(content))])
            else:
                write_damaged(path, content, rng)
            return path

        return apply

    return make


def table(root: Path) -> Path:
    path = root / "captions.csv"
    path.write_text('filepath,title,split\na.jpg,"a ship, at sea",train\nb.jpg,a "dam",train\nb.jpg,one,val\n')
    return path


MAKERS = {
    "rsicd": json_file({"images": [rsicd_image("a.jpg", "x", "y"), rsicd_image("b.jpg", "z", filepath="images")]}),
    "coco": json_file(coco_captions()),
    "table": damaged_bytes(table),
    "shard": damaged_bytes(lambda root: write_shard(root / "a.tar", "a", "b", "c")),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_damaged_files(tmp_path: Path, kind: str) -> None:
    for name in ("a.jpg", "b.jpg"):
        write_image(tmp_path / name)
    damage, read = MAKERS[kind](tmp_path), 0
    for number in range(MUTATIONS):
        path = damage(np.random.default_rng([number, len(kind)]))
        with suppress(UserError):
            for split in caption_splits(path):
                dataset = read_captions(path, split, skip_broken=bool(number % 2))
                assert len(dataset)
                assert all(caption.strip() for example in dataset.examples for caption in example.captions)
                assert all(note.encode() for note in dataset.notes)
            read += 1
    assert 0 < read < MUTATIONS
