"""DIOR (Li et al. 2020) on disk: the official layout, and the flat one of the mini_dataset and of the drawn data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from remoteclip_jax.data.classes import resolve
from remoteclip_jax.data.files import Notes, images_by_stem, read_stems
from remoteclip_jax.data.images import image_size
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.data.voc import annotated_size, normalise_boxes, parse_voc
from remoteclip_jax.errors import UserError

SPLIT_DIRS = ("splits", "ImageSets/Main", "Main", "ImageSets")
IMAGE_DIRS = ("images", "JPEGImages-trainval", "JPEGImages-test", "JPEGImages")
ANNOTATION_DIRS = ("annotations", "Annotations/Horizontal Bounding Boxes", "Annotations")
SPLITS = ("train", "val", "trainval", "test")


def is_dior(data_dir: Path) -> bool:
    return bool(splits_of_dior(data_dir)) and any((data_dir / name).is_dir() for name in ANNOTATION_DIRS)


def splits_of_dior(data_dir: Path) -> tuple[str, ...]:
    """The splits that have a list; `trainval` also where `train` and `val` have one."""
    listed = {name for name in SPLITS if _split_file(data_dir, name)}
    if {"train", "val"} <= listed:
        listed.add("trainval")
    return tuple(name for name in SPLITS if name in listed)


def _split_file(data_dir: Path, split: str) -> Path | None:
    candidates = (data_dir / directory / f"{split}.txt" for directory in SPLIT_DIRS)
    return next((path for path in candidates if path.is_file()), None)


def read_dior(data_dir: Path, split: str, classes: Sequence[str]) -> Dataset:
    """One split. UserError, naming the file, for a missing image or annotation, an unknown class, broken XML."""
    files = [_split_file(data_dir, split)]
    if files == [None] and split == "trainval":
        files = [_split_file(data_dir, "train"), _split_file(data_dir, "val")]
    stems = [(file, stem) for file in files if file for stem in read_stems(file)]
    seen: dict[str, Path] = {}
    for file, stem in stems:
        if seen.setdefault(stem, file) != file:
            raise UserError(f"{file}: {stem!r} stands in {seen[stem]} too")
    annotations = _annotation_dir(data_dir)
    images = images_by_stem([data_dir / name for name in IMAGE_DIRS])
    notes, examples = Notes(split), []
    for file, stem in stems:
        if stem not in images:
            looked = ", ".join(name for name in IMAGE_DIRS if (data_dir / name).is_dir()) or "no image directory"
            raise UserError(f"{file}: there is no image {stem!r} in {data_dir} (looked in {looked})")
        examples.append(_read_example(images[stem], annotations / f"{stem}.xml", classes, notes))
    return Dataset(split, tuple(classes), tuple(examples), notes=notes.lines())


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
