"""DIOR (Li et al. 2020) on disk: the official layout, and the flat one of the mini_dataset and of the drawn data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from remoteclip_jax.data.classes import resolve
from remoteclip_jax.data.files import Notes, images_by_stem
from remoteclip_jax.data.images import image_size
from remoteclip_jax.data.split_lists import read_lists, split_lists
from remoteclip_jax.data.splits import ALL
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.data.voc import annotated_size, normalise_boxes, parse_voc
from remoteclip_jax.errors import UserError

IMAGE_DIRS = ("images", "JPEGImages-trainval", "JPEGImages-test", "JPEGImages")
ANNOTATION_DIRS = ("annotations", "Annotations/Horizontal Bounding Boxes", "Annotations")


def is_dior(data_dir: Path) -> bool:
    """Without lists of splits there must be XML beside images: other formats have an `annotations/` as well."""
    if split_lists(data_dir):
        return any((data_dir / name).is_dir() for name in ANNOTATION_DIRS)
    annotated = any(next((data_dir / name).glob("*.xml"), None) for name in ANNOTATION_DIRS)
    return annotated and any((data_dir / name).is_dir() for name in IMAGE_DIRS)


def splits_of_dior(data_dir: Path) -> tuple[str, ...]:
    """The splits that have a list (see `split_lists`); one of all images where none has."""
    return tuple(split_lists(data_dir)) or (ALL,)


def read_dior(data_dir: Path, split: str, classes: Sequence[str]) -> Dataset:
    """One split. UserError, naming the file, for a missing image or annotation, an unknown class, broken XML."""
    lists = split_lists(data_dir)
    stems = read_lists(lists[split]) if lists else [(data_dir, stem) for stem in sorted(_images(data_dir))]
    annotations = _annotation_dir(data_dir)
    images = _images(data_dir)
    notes, examples = Notes(split), []
    for file, stem in stems:
        if stem not in images:
            looked = ", ".join(name for name in IMAGE_DIRS if (data_dir / name).is_dir()) or "no image directory"
            raise UserError(f"{file}: there is no image {stem!r} in {data_dir} (looked in {looked})")
        examples.append(_read_example(images[stem], annotations / f"{stem}.xml", classes, notes))
    return Dataset(split, tuple(classes), tuple(examples), notes=notes.lines())


def _images(data_dir: Path) -> dict[str, Path]:
    return images_by_stem([data_dir / name for name in IMAGE_DIRS])


def _annotation_dir(data_dir: Path) -> Path:
    for name in ANNOTATION_DIRS:
        # In the official layout `Annotations` holds nothing but two folders of annotations.
        if (data_dir / name).is_dir() and next((data_dir / name).glob("*.xml"), None):
            return data_dir / name
    raise UserError(f"{data_dir}: no annotations (*.xml) in {', '.join(ANNOTATION_DIRS)}")


def _read_example(image: Path, annotation: Path, classes: Sequence[str], notes: Notes) -> Example:
    parsed = parse_voc(annotation)
    size = image_size(image)
    labels = np.array([resolve(name, classes, annotation) for name in parsed.names], np.int32)
    boxes, keep = normalise_boxes(parsed.boxes, *annotated_size(annotation, parsed.size, image, size))
    notes.add("boxes without area dropped", annotation, int((~keep).sum()))
    return Example(image, *size, boxes, labels[keep])
