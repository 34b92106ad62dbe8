"""YOLO's labels: a text file an image, a line an object: its class number and its box, or outline, in fractions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from remoteclip_jax.data.broken import Images
from remoteclip_jax.data.classes import resolve
from remoteclip_jax.data.formats.objects import make_example
from remoteclip_jax.data.formats.voc import LARGEST
from remoteclip_jax.data.formats.yolo_layout import YoloLayout, label_file, split_images, yolo_layout
from remoteclip_jax.data.notes import Notes, shown
from remoteclip_jax.data.splits import TRAIN, role
from remoteclip_jax.data.types import Annotated, Dataset, Example
from remoteclip_jax.errors import UserError


def is_yolo(data_dir: Path) -> bool:
    layout = yolo_layout(data_dir)
    return layout is not None and bool(layout.splits)


def splits_of_yolo(data_dir: Path) -> tuple[str, ...]:
    return tuple(_layout(data_dir).splits)


def told_yolo(data_dir: Path) -> str:
    return _layout(data_dir).told


def yolo_classes(data_dir: Path) -> tuple[str, ...]:
    """The names in the order of their numbers; where no file says them, `class_0`, `class_1`, …"""
    layout = _layout(data_dir)
    if layout.names is not None:
        return tuple(dict.fromkeys(layout.names.values()))
    return tuple(f"class_{i}" for i in range(layout.count or _count_classes(layout, data_dir)))


def read_yolo(data_dir: Path, split: str, classes: Sequence[str], images: Images) -> Dataset:
    """One split. An image without a label file shows nothing. UserError, naming file and line, for what is no label,
    and for a class number that has no name."""
    layout, notes = _layout(data_dir), Notes(split)
    names = layout.names
    if names is None:
        numbers = {number: number for number in range(len(classes))}
        what = "classes known by their numbers alone (`names` in a data.yaml, or --classes=FILE in order, names them)"
        notes.add(what, layout.source, len(classes))
    else:
        numbers = {number: resolve(name, classes, layout.source) for number, name in names.items()}
    for name in layout.absent if role(split) == TRAIN else ():
        notes.add(f"split named but not there: {name}", layout.source)
    examples: list[Example] = []
    labelled: dict[Path, Path] = {}
    for image in split_images(layout.splits[split], data_dir, images, notes):
        first = labelled.setdefault(label_file(image, data_dir), image)
        if first != image:
            notes.add(f"images passed over for others of the same name, such as {shown(first.name)}", image)
            continue
        header = images.header(image)
        if header is not None:
            examples.append(_read_example(image, header.size, data_dir, numbers, notes))
    return Dataset(
        split, tuple(classes), tuple(examples), notes=notes.lines(), category_ids=_category_ids(numbers, classes)
    )


def _layout(data_dir: Path) -> YoloLayout:
    layout = yolo_layout(data_dir)
    if layout is None:
        raise UserError(f"{data_dir}: no YOLO labels here")
    return layout


def _count_classes(layout: YoloLayout, data_dir: Path) -> int:
    """One more than the largest class number in the labels, at least 1; lines that are no labels are for later."""
    largest = 0
    for paths in layout.splits.values():
        for image in split_images(paths, data_dir, Images(skip_broken=True), Notes("")):
            path = label_file(image, data_dir)
            words = [line.split()[0] for line in _read(path).splitlines() if line.strip()] if path.is_file() else []
            largest = max([largest, *(int(word) for word in words if word.isdecimal() and len(word) < 4)])
    return largest + 1


def _category_ids(numbers: dict[int, int], classes: Sequence[str]) -> tuple[int, ...]:
    """The file's numbers of `classes`; those that it does not know get unused ones above."""
    known = {index: number for number, index in reversed(numbers.items())}
    unused = iter(range(max(numbers, default=-1) + 1, max(numbers, default=-1) + 1 + len(classes)))
    return tuple(known[i] if i in known else next(unused) for i in range(len(classes)))


def _read_example(image: Path, size: tuple[int, int], data_dir: Path, numbers: dict[int, int], notes: Notes) -> Example:
    path = label_file(image, data_dir)
    labels, shares = [], []
    if path.is_file():
        for number, line in enumerate(_read(path).splitlines(), 1):
            if line.strip():
                label, box = _object(f"{path}, line {number}", line.split(), numbers, path, notes)
                labels.append(label)
                shares.append(box)
    else:
        notes.add("images without a label file taken for background", image)
    boxes = np.array(shares, np.float64).reshape(-1, 4) * np.array([*size, *size], np.float64)
    boxes[:, :2] -= boxes[:, 2:] / 2
    nothing = np.zeros(len(boxes), bool)
    areas = boxes[:, 2] * boxes[:, 3]
    annotated = Annotated(image.stem, *size, boxes, areas, np.array(labels, np.int32), nothing, nothing)
    example, without_area = make_example(image, size, annotated)
    notes.add("boxes without area dropped", path, without_area)
    return example


def _object(
    where: str, words: list[str], numbers: dict[int, int], path: Path, notes: Notes
) -> tuple[int, Float64[np.ndarray, " 4"]]:
    """The label and the box (cx, cy, w, h) of a line: of 4 numbers, of 5 with a confidence, or of an outline's 6 and
    more, which may be an oriented box's corners."""
    try:
        values = np.array([float(word) for word in words[1:]], np.float64)
        number = int(words[0]) if words[0].isdecimal() else int(float(words[0]))
    except (ValueError, OverflowError):
        raise UserError(f"{where}: {' '.join(words)[:80]!r} is not a class number and a box") from None
    if not (np.abs(values) <= LARGEST).all():
        raise UserError(f"{where}: a number is not finite")
    if number not in numbers or not float(words[0]).is_integer():
        known = f"{min(numbers)} to {max(numbers)}" if numbers else "none"
        raise UserError(f"{where}: class {words[0][:40]} has no name (known: {known})")
    if len(values) == 5:
        notes.add("lines with a number after the box, a confidence, read without it", path)
        values = values[:4]
    if len(values) >= 6 and len(values) % 2 == 0:
        notes.add("outlines taken as their bounding boxes", path)
        points = values.reshape(-1, 2)
        low, high = points.min(0), points.max(0)
        values = np.concatenate([(low + high) / 2, high - low])
    if len(values) != 4:
        raise UserError(f"{where}: {len(values)} numbers after the class; expected a box's 4, or an outline's points")
    return numbers[number], values


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None
