"""YOLO: `data.yaml`, `images/SPLIT/` and `labels/SPLIT/*.txt`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from convert.dataset_writers.items import Item, Split, Target
from convert.dataset_writers.names import one_line
from convert.dataset_writers.numbers import number_text
from remoteclip_jax.data.splits import TRAIN, split_role


def _write(root: Path, splits: Sequence[Split]) -> None:
    names: dict[int, str] = {}
    for split in splits:
        numbers = split.ids or range(len(split.classes))
        names |= dict(zip(numbers, split.classes, strict=True))
        directory = root / "labels" / split.name
        directory.mkdir(parents=True)
        for item in split.items:
            (directory / item.name).with_suffix(".txt").write_text("".join(_lines(item, numbers)))
    content: dict[str, Any] = {split.name: f"images/{split.name}" for split in splits}
    if names:  # none if DOTA's labels, which name them, have no object
        content["names"] = dict(sorted(names.items()))
    # Written by a library, so that a class called `no`, `1e3` or `- x: y` stays what it is.
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10**6)
    (root / "data.yaml").write_text(text, encoding="utf-8")


def _lines(item: Item, numbers: Sequence[int]) -> list[str]:
    """A line for each object: its class number, and its centre and size as fractions of the image."""
    a, lines = item.annotations, []
    for (x, y, w, h), label in zip(a.boxes.tolist(), a.labels.tolist(), strict=True):
        box = ((x + w / 2) / a.width, (y + h / 2) / a.height, w / a.width, h / a.height)
        lines.append(" ".join([str(numbers[label]), *map(number_text, box)]) + "\n")
    return lines


def _split_name(name: str, is_only: bool) -> str | None:
    """A YAML file names splits by what they are for."""
    return name if split_role(name) else TRAIN if is_only else None


YOLO = Target("YOLO", False, False, lambda split: f"images/{split}", _split_name, one_line, _write)
