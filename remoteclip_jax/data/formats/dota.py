"""Reader of DOTA (Xia et al. 2018): a text file per image, and a line per object with the four corners of its oriented
box in pixels, its class, and whether it is difficult."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from remoteclip_jax.data.broken_images import ImageOpener
from remoteclip_jax.data.classes import class_index, find_class_index
from remoteclip_jax.data.formats.dota_layout import DotaSplit, dota_layout, label_root_name
from remoteclip_jax.data.formats.examples import make_example
from remoteclip_jax.data.formats.file_finder import visible_files
from remoteclip_jax.data.formats.voc import MAX_COORDINATE
from remoteclip_jax.data.listing import image_paths, name_key, visible_entries
from remoteclip_jax.data.notes import Notes, utf8_name
from remoteclip_jax.data.types import Annotations, Dataset, Example
from remoteclip_jax.errors import UserError
from remoteclip_jax.files.text_files import read_text

# In the order in which they were published: 15 in version 1.0, one more in 1.5, two more in 2.0.
DOTA_CLASSES = (
    "plane",
    "baseball-diamond",
    "bridge",
    "ground-track-field",
    "small-vehicle",
    "large-vehicle",
    "ship",
    "tennis-court",
    "basketball-court",
    "storage-tank",
    "soccer-ball-field",
    "roundabout",
    "harbor",
    "swimming-pool",
    "helicopter",
    "container-crane",
    "airport",
    "helipad",
)


@dataclass(frozen=True, eq=False)
class DotaObject:
    """A line of a label file: the corners (x, y) in pixels, the class, and whether the object is difficult."""

    corners: Float64[np.ndarray, "4 2"]
    name: str
    difficult: bool

    @property
    def is_upright(self) -> bool:
        """Whether the four corners are those of an upright rectangle."""
        xs, ys = self.corners.T.tolist()
        return set(zip(xs, ys, strict=True)) == set(itertools.product(xs, ys)) and len({*xs}) <= 2 >= len({*ys})


def is_dota(data_dir: Path) -> bool:
    """Whether `data_dir` has images with DOTA's labels."""
    return bool(dota_layout(data_dir))


def dota_splits(data_dir: Path) -> tuple[str, ...]:
    """The folders that have both images and labels; a single split of all images if `data_dir` has them itself."""
    return tuple(dota_layout(data_dir))


def dota_classes(data_dir: Path) -> tuple[str, ...]:
    """The classes in the labels of all splits: DOTA's own in their published order, then others in alphabetical order.

    Invalid lines are skipped; reading the split reports them.
    """
    names = {
        name
        for split in dota_layout(data_dir).values()
        for path in _label_files(split.labels)
        for _, words in _object_lines(read_text(path))
        if len(words) == 9 and (name := _name_and_difficult(words[8])[0])
    }
    known = {name: index for name in names if (index := find_class_index(name, DOTA_CLASSES)) is not None}
    return tuple(sorted(names, key=lambda name: (known.get(name, len(DOTA_CLASSES)), name)))


def dota_layout_name(data_dir: Path) -> str:
    """The variant of the layout, for people. Where the labels' folder has a name of its own, this names the version."""
    names = {label_root_name(split, data_dir) for split in dota_layout(data_dir).values()} - {"labelTxt"}
    return f"DOTA ({', '.join(sorted(names))})" if names else "DOTA"


def read_dota(data_dir: Path, split: str, classes: Sequence[str], images: ImageOpener) -> Dataset:
    """One split. Oriented boxes become the upright boxes that enclose them. An image without a label file is
    background.

    UserError, naming file and line, for an invalid label and for an unknown class.
    """
    notes, place = Notes(split), dota_layout(data_dir)[split]
    for folder in place.unused:
        notes.add(f"label folders not used in favour of {_inside(place.labels, data_dir)}", _inside(folder, data_dir))
    labels = {name_key(path.stem): path for path in _label_files(place.labels)}
    found = _images_by_stem(place, notes)
    for name, path in labels.items():
        if name not in found:
            notes.add("label files without an image, not used", path)
    examples = []
    for name, image in found.items():
        header = images.header(image)
        if header is not None:
            if name not in labels:
                notes.add("images without a label file, read as background", image)
            examples.append(_read_example(image, header.size, labels.get(name), classes, notes))
    return Dataset(split, tuple(classes), tuple(examples), notes=notes.lines())


def parse_dota(path: Path) -> list[DotaObject]:
    """The objects in a label file. UserError, naming file and line, for an invalid line."""
    objects = []
    for number, words in _object_lines(read_text(path)):
        where = f"{path}, line {number}"
        try:
            corners = np.array([float(word) for word in words[:8]], np.float64).reshape(4, 2)
        except ValueError:
            raise _invalid(where, words) from None
        name, difficult = _name_and_difficult(words[8]) if len(words) == 9 else ("", False)
        if not name:
            raise _invalid(where, words)
        if not (np.abs(corners) <= MAX_COORDINATE).all():
            raise UserError(f"{where}: a coordinate is not finite; correct or remove the line")
        objects.append(DotaObject(corners, name, difficult))
    return objects


def _inside(path: Path, data_dir: Path) -> str:
    return utf8_name(path.relative_to(data_dir).as_posix())


def _images_by_stem(place: DotaSplit, notes: Notes) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in image_paths(visible_files(place.images), notes):
        first = found.setdefault(name_key(path.stem), path)
        if first != path:
            notes.add(f"images skipped in favour of others of the same name, such as {utf8_name(first.name)}", path)
    return found


def _label_files(folder: Path) -> list[Path]:
    return [path for path in visible_entries(folder) if path.suffix == ".txt"]


def _object_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """The lines of objects, numbered from 1, as their eight coordinates and the rest. Blank lines and the header's
    (`imagesource:GoogleEarth`, `gsd:0.146`) are skipped."""
    # Not str.splitlines, which also breaks a line at characters that a class name may have.
    for number, line in enumerate(text.split("\n"), 1):
        words = line.strip().split(maxsplit=8)
        if words and not (":" in words[0] and not words[0][0].isdigit()):
            yield number, words


def _name_and_difficult(rest: str) -> tuple[str, bool]:
    """The class and whether the object is difficult, from what follows the corners: `small-vehicle 1`. The number may
    be missing, and the name may consist of several words."""
    name, *last = rest.rsplit(maxsplit=1)
    if last and last[0].isdecimal():
        return name, bool(last[0].strip("0"))
    return ("", False) if rest.isdecimal() else (rest, False)


def _invalid(where: str, words: list[str]) -> UserError:
    line, expected = " ".join(words)[:80], "x1 y1 x2 y2 x3 y3 x4 y4 class difficult"
    return UserError(f"{where}: {line!r} is not `{expected}`; correct or remove the line")


def _read_example(
    image: Path, size: tuple[int, int], path: Path | None, classes: Sequence[str], notes: Notes
) -> Example:
    objects = [] if path is None else parse_dota(path)
    source = path or image
    corners = np.array([item.corners for item in objects], np.float64).reshape(-1, 4, 2)
    low, high = corners.min(1), corners.max(1)
    boxes = np.concatenate([low, high - low], -1)
    difficult = np.array([item.difficult for item in objects], bool)
    annotations = Annotations(
        image.stem,
        *size,
        boxes,
        boxes[:, 2] * boxes[:, 3],
        np.array([class_index(item.name, classes, source) for item in objects], np.int32),
        np.zeros(len(objects), bool),
        difficult,
    )
    example, dropped = make_example(image, size, annotations)
    notes.add(
        "oriented boxes replaced by the upright boxes that enclose them",
        source,
        sum(not item.is_upright for item in objects),
    )
    notes.add("boxes without area dropped", source, dropped)
    notes.add("difficult objects, ignored in training and in evaluation", source, int(difficult.sum()))
    return example
