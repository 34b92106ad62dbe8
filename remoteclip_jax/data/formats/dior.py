"""Reader of DIOR (Li et al. 2020): the official layout, the flat one of mini_dataset and of the synthetic data, and VOC
annotations beside their images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from remoteclip_jax.data.broken_images import ImageOpener
from remoteclip_jax.data.classes import DIOR_CLASSES, class_index
from remoteclip_jax.data.formats.examples import make_example
from remoteclip_jax.data.formats.split_lists import read_split_lists, split_lists
from remoteclip_jax.data.formats.stated_size import Frame, SizedImage, resolve_frames
from remoteclip_jax.data.formats.voc import NO_OBJECTS, VocAnnotation, parse_voc
from remoteclip_jax.data.images import ImageHeader
from remoteclip_jax.data.listing import images_by_stem, name_key, subdirectories, visible_entries
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.splits import ALL, split_role
from remoteclip_jax.data.types import Annotations, Dataset, Example
from remoteclip_jax.errors import UserError
from remoteclip_jax.files.text_files import read_text

IMAGE_DIRS = ("images", "JPEGImages-trainval", "JPEGImages-test", "JPEGImages")
CLASS_FILE = "classes.txt"
ANNOTATION_DIRS = ("annotations", "Annotations/Horizontal Bounding Boxes", "Annotations")


def is_dior(data_dir: Path) -> bool:
    """Whether `data_dir` has DIOR or VOC annotations. Without lists of splits there must be XML files and images: other
    formats have an `annotations/` directory as well."""
    if split_lists(data_dir):
        return any((data_dir / name).is_dir() for name in ANNOTATION_DIRS)
    has_annotations = any(_has_xml(data_dir / name) for name in ANNOTATION_DIRS)
    has_images = any((data_dir / name).is_dir() for name in IMAGE_DIRS)
    return (has_annotations and has_images) or bool(_mixed_directories(data_dir))


def dior_splits(data_dir: Path) -> tuple[str, ...]:
    """The splits that have a list (see `split_lists`) or a directory; or a single split of all images."""
    return tuple(split_lists(data_dir)) or tuple(_mixed_directories(data_dir)) or (ALL,)


def dior_classes(data_dir: Path) -> tuple[str, ...]:
    """The names in `classes.txt`, one a line, if `data_dir` has that file; else DIOR's 20."""
    path = data_dir / CLASS_FILE
    names = (line.strip() for line in read_text(path).split("\n")) if path.is_file() else ()
    return tuple(dict.fromkeys(filter(None, names))) or DIOR_CLASSES


def dior_layout_name(data_dir: Path) -> str:
    """The variant of the layout, for people."""
    mixed = not split_lists(data_dir) and _mixed_directories(data_dir)
    return "VOC (annotations beside the images)" if mixed else "DIOR"


def _mixed_directories(data_dir: Path) -> dict[str, Path]:
    """The directories that contain both images and their annotations, by split.

    These are directories of splits, as exported by Roboflow, or else `data_dir` itself, as written by LabelImg.
    """
    directories = (path for path in subdirectories(data_dir) if split_role(path.name))
    by_split = {path.name: path for path in directories if _has_xml(path)}
    return by_split or ({ALL: data_dir} if _has_xml(data_dir) else {})


def _has_xml(directory: Path) -> bool:
    return any(path.suffix.lower() == ".xml" for path in visible_entries(directory))


@dataclass(frozen=True, eq=False)
class _Record:
    """What the files say about one image. `source` is its annotation file, or the image if it has none."""

    image: Path
    header: ImageHeader
    source: Path
    annotation: VocAnnotation


def read_dior(data_dir: Path, split: str, classes: Sequence[str], images: ImageOpener) -> Dataset:
    """One split. Images without an annotation file are background.

    UserError, naming the file, for a missing image, an unknown class or broken XML, and if the size that boxes refer to
    is unclear (see `resolve_frames`).
    """
    notes, lists = Notes(split), split_lists(data_dir)
    mixed = [] if lists else [path for name, path in _mixed_directories(data_dir).items() if name == split]
    files = images_by_stem(mixed or [data_dir / name for name in IMAGE_DIRS], notes)
    annotation_files = _annotation_files(data_dir, mixed or [data_dir / name for name in ANNOTATION_DIRS])
    records = []
    for file, stem in read_split_lists(lists[split]) if lists else [(data_dir, stem) for stem in sorted(files)]:
        name = name_key(stem)
        if name not in files:
            reason = f"{file}: there is no image {stem!r} in {data_dir} ({_missing_image_hint(data_dir, name)})"
            images.reject(stem, UserError(reason))
            continue
        image = files[name]
        header, source = images.header(image), annotation_files.get(name, image)
        if header is None:
            continue
        if name not in annotation_files:
            notes.add("images without an annotation file, read as background", image)
        annotation = parse_voc(source) if name in annotation_files else NO_OBJECTS
        records.append(_Record(image, header, source, annotation))
    for name, path in {} if lists else annotation_files.items():
        if name not in files:
            notes.add("annotation files without an image, not used", path)
    frames = resolve_frames([_sized(record) for record in records], notes)
    examples = [
        _example(record, frame, number, classes, notes)
        for number, (record, frame) in enumerate(zip(records, frames, strict=True), 1)
    ]
    return Dataset(split, tuple(classes), tuple(examples), notes=notes.lines())


def _missing_image_hint(data_dir: Path, name: str) -> str:
    """What was found in place of the image `name`, and what to do."""
    existing = [directory for directory in IMAGE_DIRS if (data_dir / directory).is_dir()]
    files = (path for directory in existing for path in visible_entries(data_dir / directory))
    other = next((path.name for path in files if name_key(path.stem) == name), None)
    if other is not None:
        return f"{other} has an unsupported format; save it as PNG, JPEG or TIFF"
    return f"looked in {', '.join(existing) or 'no image directory'}; add it, or remove it from the list"


def _annotation_files(data_dir: Path, directories: Sequence[Path]) -> dict[str, Path]:
    """The annotation files by the `name_key` of their names without extension."""
    for directory in directories:
        # In the official layout `Annotations` has only two subdirectories with annotations.
        found = [path for path in visible_entries(directory) if path.suffix.lower() == ".xml"]
        if found:
            return {name_key(path.stem): path for path in found}
    raise UserError(f"{data_dir}: no annotations (*.xml) in {', '.join(ANNOTATION_DIRS)}")


def _sized(record: _Record) -> SizedImage:
    corners = record.annotation.boxes
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], -1)
    return SizedImage(
        record.source, record.image, record.annotation.size, record.header.size, record.header.orientation, boxes
    )


def _example(record: _Record, frame: Frame, number: int, classes: Sequence[str], notes: Notes) -> Example:
    """The example of an image. Its id is `number`, its position in the split from 1, since VOC has no image ids."""
    labels = np.array([class_index(name, classes, record.source) for name in record.annotation.names], np.int32)
    difficult = record.annotation.difficult
    annotations = Annotations(
        number,
        frame.width,
        frame.height,
        frame.boxes,
        frame.boxes[:, 2:].prod(-1),
        labels,
        np.zeros(len(labels), bool),
        difficult,
    )
    example, dropped = make_example(record.image, record.header.size, annotations)
    notes.add("boxes without area dropped", record.source, dropped)
    notes.add("difficult objects, ignored in training and in evaluation", record.source, int(difficult.sum()))
    return example
