"""Reader of YOLO labels: a text file per image, and a line per object with its class number and its box or outline, as
fractions of the image."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from remoteclip_jax.data.broken_images import ImageOpener
from remoteclip_jax.data.classes import class_index
from remoteclip_jax.data.formats.examples import make_example
from remoteclip_jax.data.formats.voc import MAX_COORDINATE
from remoteclip_jax.data.formats.yolo_layout import (
    YoloLayout,
    first_images,
    label_directory,
    label_file,
    split_images,
    yolo_layout,
)
from remoteclip_jax.data.listing import name_key, visible_entries
from remoteclip_jax.data.notes import Notes, utf8_name
from remoteclip_jax.data.splits import TRAIN, split_role
from remoteclip_jax.data.types import Annotations, Dataset, Example
from remoteclip_jax.errors import UserError
from remoteclip_jax.files.text_files import read_text


def is_yolo(data_dir: Path) -> bool:
    """Whether `data_dir` has YOLO labels."""
    layout = yolo_layout(data_dir)
    return layout is not None and bool(layout.splits)


def yolo_splits(data_dir: Path) -> tuple[str, ...]:
    """The splits that the YAML file or the folders name."""
    return tuple(_layout(data_dir).splits)


def yolo_layout_name(data_dir: Path) -> str:
    """The variant of the layout, for people."""
    layout = _layout(data_dir)
    if not _has_oriented_boxes(layout, data_dir):
        return layout.name
    name, _, rest = layout.name.partition(" (")
    return f"{name} (oriented boxes{', ' + rest if rest else ')'}"


def yolo_classes(data_dir: Path) -> tuple[str, ...]:
    """The class names in the order of their numbers; if no file gives names, `class_0`, `class_1`, …"""
    layout = _layout(data_dir)
    if layout.names is not None:
        return tuple(dict.fromkeys(layout.names.values()))
    return tuple(f"class_{i}" for i in range(layout.count or _count_classes(layout, data_dir)))


def read_yolo(data_dir: Path, split: str, classes: Sequence[str], images: ImageOpener) -> Dataset:
    """One split. An image without a label file is background.

    UserError, naming file and line, for an invalid label and for a class number without a name.
    """
    layout, notes = _layout(data_dir), Notes(split)
    names = layout.names
    if names is None:
        numbers = {number: number for number in range(len(classes))}
        what = "classes without names, known only by number (name them by `names` in a data.yaml, or by --classes=FILE)"
        notes.add(what, layout.source, len(classes))
    else:
        numbers = {number: class_index(name, classes, layout.source) for number, name in names.items()}
    for name in layout.absent if split_role(split) == TRAIN else ():
        notes.add(f"split named in the file but missing: {name}", layout.source)
    examples: list[Example] = []
    labelled: dict[Path, Path] = {}
    found = split_images(layout.splits[split], data_dir, images, notes)
    if not any(path.is_file() for path in layout.splits[split]):  # a list names only some of the images
        _note_labels_without_image(found, data_dir, notes)
    for image in found:
        first = labelled.setdefault(label_file(image, data_dir), image)
        if first != image:
            notes.add(f"images skipped in favour of others of the same name, such as {utf8_name(first.name)}", image)
            continue
        header = images.header(image)
        if header is not None:
            examples.append(_read_example(image, header.size, data_dir, numbers, layout, notes))
    return Dataset(
        split, tuple(classes), tuple(examples), notes=notes.lines(), category_ids=_category_ids(numbers, classes)
    )


def _layout(data_dir: Path) -> YoloLayout:
    layout = yolo_layout(data_dir)
    if layout is None:
        raise UserError(f"{data_dir}: no YOLO labels here")
    return layout


def _has_oriented_boxes(layout: YoloLayout, data_dir: Path) -> bool:
    """Whether the labels are oriented boxes: eight numbers after the class, for the four corners. A few lines of a few
    files are looked at."""
    images = itertools.chain.from_iterable(first_images(paths, data_dir) for paths in layout.splits.values())
    lengths = {len(line.split()) for image in itertools.islice(images, 20) for line in _first_lines(image, data_dir)}
    return lengths == {9}


def _first_lines(image: Path, data_dir: Path) -> Iterator[str]:
    path = label_file(image, data_dir)
    if path.is_file():
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            yield from (line for line in itertools.islice(file, 5) if line.strip())


def _note_labels_without_image(images: Sequence[Path], data_dir: Path, notes: Notes) -> None:
    """Count the label files in the directories of the labels of `images` that belong to none of them."""
    stems: dict[Path, set[str]] = defaultdict(set)
    for image in images:
        stems[label_directory(image, data_dir)].add(name_key(image.stem))
    beside = {image.parent for image in images}  # where there may be other text files
    for directory in sorted(stems.keys() - beside):
        for path in visible_entries(directory):
            if path.suffix == ".txt" and name_key(path.stem) not in stems[directory] and path.name != "classes.txt":
                notes.add("label files without an image, not used", path)


def _count_classes(layout: YoloLayout, data_dir: Path) -> int:
    """One more than the largest class number in the labels, at least 1. Invalid lines are skipped; reading the split
    reports them."""
    largest = 0
    for paths in layout.splits.values():
        for image in split_images(paths, data_dir, ImageOpener(skip_broken=True), Notes("")):
            path = label_file(image, data_dir)
            words = [line.split()[0] for line in read_text(path).splitlines() if line.strip()] if path.is_file() else []
            largest = max([largest, *(int(word) for word in words if word.isdecimal() and len(word) < 4)])
    return largest + 1


def _category_ids(numbers: dict[int, int], classes: Sequence[str]) -> tuple[int, ...]:
    """The file's numbers of `classes`. Classes that the file lacks get unused numbers, above all others."""
    numbers_in_file = {index: number for number, index in reversed(numbers.items())}
    unused = iter(range(max(numbers, default=-1) + 1, max(numbers, default=-1) + 1 + len(classes)))
    return tuple(numbers_in_file[i] if i in numbers_in_file else next(unused) for i in range(len(classes)))


def _read_example(
    image: Path, size: tuple[int, int], data_dir: Path, numbers: dict[int, int], layout: YoloLayout, notes: Notes
) -> Example:
    path = label_file(image, data_dir)
    labels, fractions = [], []
    if path.is_file():
        for number, line in enumerate(read_text(path).splitlines(), 1):
            if line.strip():
                label, box = _object(f"{path}, line {number}", line.split(), numbers, layout, path, notes)
                labels.append(label)
                fractions.append(box)
    else:
        notes.add("images without a label file, read as background", image)
    boxes = np.array(fractions, np.float64).reshape(-1, 4) * np.array([*size, *size], np.float64)
    boxes[:, :2] -= boxes[:, 2:] / 2
    none = np.zeros(len(boxes), bool)
    areas = boxes[:, 2] * boxes[:, 3]
    annotations = Annotations(image.stem, *size, boxes, areas, np.array(labels, np.int32), none, none)
    example, dropped = make_example(image, size, annotations)
    notes.add("boxes without area dropped", path, dropped)
    return example


def _object(
    where: str, words: list[str], numbers: dict[int, int], layout: YoloLayout, path: Path, notes: Notes
) -> tuple[int, Float64[np.ndarray, " 4"]]:
    """The label and the box (cx, cy, w, h) of a line.

    After the class, a line has 4 numbers for a box, 5 for a box with a confidence, or an even number from 6 on for an
    outline, which may be the corners of an oriented box.
    """
    try:
        values = np.array([float(word) for word in words[1:]], np.float64)
        number = int(words[0]) if words[0].isdecimal() else int(float(words[0]))
    except (ValueError, OverflowError):
        line = " ".join(words)[:80]
        raise UserError(f"{where}: {line!r} is not a class number and a box; correct or remove the line") from None
    if not (np.abs(values) <= MAX_COORDINATE).all():
        raise UserError(f"{where}: a number is not finite")
    if number not in numbers or not float(words[0]).is_integer():
        known = ", ".join(map(str, sorted(numbers)[:20])) or "none"
        if len(numbers) > 1 and max(numbers) - min(numbers) == len(numbers) - 1:
            known = f"{min(numbers)} to {max(numbers)}"
        place = "--classes=FILE" if layout.names is None else layout.source.name
        raise UserError(
            f"{where}: class {words[0][:40]} has no name (known: {known}); name it in {place}, or correct the line"
        )
    if len(values) == 5:
        notes.add("lines with a confidence after the box, which is not used", path)
        values = values[:4]
    if len(values) >= 6 and len(values) % 2 == 0:
        notes.add("outlines replaced by their bounding boxes", path)
        points = values.reshape(-1, 2)
        low, high = points.min(0), points.max(0)
        values = np.concatenate([(low + high) / 2, high - low])
    if len(values) != 4:
        raise UserError(f"{where}: {len(values)} numbers after the class; expected a box's 4, or an outline's points")
    return numbers[number], values
