"""DOTA: `SPLIT/images/` and `SPLIT/labelTxt/*.txt`, with upright boxes as quadrilaterals."""

from collections.abc import Sequence
from pathlib import Path

from convert.dataset_writers.items import Item, Split, Target
from convert.dataset_writers.names import one_word
from convert.dataset_writers.numbers import far_side, number_text


def _write(root: Path, splits: Sequence[Split]) -> None:
    for split in splits:
        directory = root / split.name / "labelTxt"
        directory.mkdir(parents=True)
        for item in split.items:
            path = (directory / item.name).with_suffix(".txt")
            path.write_text("".join(_lines(item, split.classes)), encoding="utf-8")


def _lines(item: Item, classes: Sequence[str]) -> list[str]:
    """A line for each object: its corners clockwise from the upper left, its class, and 1 if it is difficult."""
    a, lines = item.annotations, []
    columns = (a.boxes.tolist(), a.labels.tolist(), a.difficult.tolist())
    for (x, y, w, h), label, difficult in zip(*columns, strict=True):
        left, top, right, bottom = map(number_text, (x, y, far_side(x, w), far_side(y, h)))
        corners = f"{left} {top} {right} {top} {right} {bottom} {left} {bottom}"
        lines.append(f"{corners} {classes[label]} {int(difficult)}\n")
    return lines


DOTA = Target("DOTA", False, True, lambda split: f"{split}/images", lambda name, _: name, one_word, _write)
