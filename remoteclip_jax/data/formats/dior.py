"""DIOR (Li et al. 2020) on disk: the official layout, and the flat one of the mini_dataset and of the drawn data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from remoteclip_jax.data.broken import Images
from remoteclip_jax.data.classes import resolve
from remoteclip_jax.data.formats.objects import make_example
from remoteclip_jax.data.formats.split_lists import read_lists, split_lists
from remoteclip_jax.data.formats.stated_size import Frame, Sized, settle_sizes
from remoteclip_jax.data.formats.voc import NOTHING, Annotation, parse_voc
from remoteclip_jax.data.images import Header
from remoteclip_jax.data.listing import images_by_stem, same_name, visible
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.splits import ALL, role
from remoteclip_jax.data.types import Annotated, Dataset, Example
from remoteclip_jax.errors import UserError

IMAGE_DIRS = ("images", "JPEGImages-trainval", "JPEGImages-test", "JPEGImages")
ANNOTATION_DIRS = ("annotations", "Annotations/Horizontal Bounding Boxes", "Annotations")


def is_dior(data_dir: Path) -> bool:
    """Without lists of splits there must be XML beside images: other formats have an `annotations/` as well."""
    if split_lists(data_dir):
        return any((data_dir / name).is_dir() for name in ANNOTATION_DIRS)
    annotated = any(_has_xml(data_dir / name) for name in ANNOTATION_DIRS)
    return (annotated and any((data_dir / name).is_dir() for name in IMAGE_DIRS)) or bool(_beside(data_dir))


def splits_of_dior(data_dir: Path) -> tuple[str, ...]:
    """The splits that have a list (see `split_lists`), or a directory; one of all images where there is neither."""
    return tuple(split_lists(data_dir)) or tuple(_beside(data_dir)) or (ALL,)


def told_dior(data_dir: Path) -> str:
    return "VOC (annotations beside the images)" if not split_lists(data_dir) and _beside(data_dir) else "DIOR"


def _beside(data_dir: Path) -> dict[str, Path]:
    """The directories that hold images and their annotations side by side: of splits, as Roboflow exports them, or else
    `data_dir` itself, as LabelImg leaves them."""
    inside = {path.name: path for path in visible(data_dir) if path.is_dir() and role(path.name) and _has_xml(path)}
    return inside or ({ALL: data_dir} if _has_xml(data_dir) else {})


def _has_xml(directory: Path) -> bool:
    return any(path.suffix.lower() == ".xml" for path in visible(directory))


@dataclass(frozen=True, eq=False)
class _Read:
    """What the files say of one image; `source` is its annotation file."""

    image: Path
    header: Header
    source: Path
    annotation: Annotation


def read_dior(data_dir: Path, split: str, classes: Sequence[str], images: Images) -> Dataset:
    """One split. Images without an annotation file are background. UserError, naming the file, for a missing image, an
    unknown class, broken XML, and where it cannot be told what boxes mean (see `settle_sizes`)."""
    notes, lists = Notes(split), split_lists(data_dir)
    beside = [] if lists else [path for name, path in _beside(data_dir).items() if name == split]
    files = images_by_stem(beside or [data_dir / name for name in IMAGE_DIRS], notes)
    annotations = _annotations(data_dir, beside or [data_dir / name for name in ANNOTATION_DIRS])
    read = []
    for file, stem in read_lists(lists[split]) if lists else [(data_dir, stem) for stem in sorted(files)]:
        name = same_name(stem)
        if name not in files:
            reason = f"{file}: there is no image {stem!r} in {data_dir} ({_instead(data_dir, name)})"
            images.fail(stem, UserError(reason))
            continue
        image = files[name]
        header, source = images.header(image), annotations.get(name, image)
        if header is None:
            continue
        if name not in annotations:
            notes.add("images without an annotation file, taken as background", image)
        read.append(_Read(image, header, source, parse_voc(source) if name in annotations else NOTHING))
    frames = settle_sizes([_sized(item) for item in read], notes)
    examples = [
        _example(item, frame, i, classes, notes) for i, (item, frame) in enumerate(zip(read, frames, strict=True), 1)
    ]
    return Dataset(split, tuple(classes), tuple(examples), notes=notes.lines())


def _instead(data_dir: Path, name: str) -> str:
    """What there is in place of the image that is called `name`, and what to do."""
    there = [directory for directory in IMAGE_DIRS if (data_dir / directory).is_dir()]
    files = (path for directory in there for path in visible(data_dir / directory))
    other = next((path.name for path in files if same_name(path.stem) == name), None)
    if other is not None:
        return f"{other} is of a kind that cannot be read; save it as PNG, JPEG or TIFF"
    return f"looked in {', '.join(there) or 'no image directory'}; add it, or take it off the list"


def _annotations(data_dir: Path, directories: Sequence[Path]) -> dict[str, Path]:
    """The annotation files by `same_name` of their names without extension."""
    for directory in directories:
        # In the official layout `Annotations` holds nothing but two folders of annotations.
        found = [path for path in visible(directory) if path.suffix.lower() == ".xml"]
        if found:
            return {same_name(path.stem): path for path in found}
    raise UserError(f"{data_dir}: no annotations (*.xml) in {', '.join(ANNOTATION_DIRS)}")


def _sized(item: _Read) -> Sized:
    corners = item.annotation.boxes
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], -1)
    return Sized(item.source, item.image, item.annotation.size, item.header.size, item.header.orientation, boxes)


def _example(item: _Read, frame: Frame, number: int, classes: Sequence[str], notes: Notes) -> Example:
    """VOC's images have no numbers of their own: `number` is the image's place in its split, from 1."""
    labels = np.array([resolve(name, classes, item.source) for name in item.annotation.names], np.int32)
    difficult = item.annotation.difficult
    annotated = Annotated(
        number,
        frame.width,
        frame.height,
        frame.boxes,
        frame.boxes[:, 2:].prod(-1),
        labels,
        np.zeros(len(labels), bool),
        difficult,
    )
    example, dropped = make_example(item.image, item.header.size, annotated)
    notes.add("boxes without area dropped", item.source, dropped)
    notes.add("difficult objects, ignored in training and in evaluation", item.source, int(difficult.sum()))
    return example
