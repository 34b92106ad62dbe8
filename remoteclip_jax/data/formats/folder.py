"""Reader of class folders, for scene classification: `SPLIT/CLASS/*.jpg`. Folders inside a class belong to it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from remoteclip_jax.data.broken_images import ImageOpener
from remoteclip_jax.data.classes import class_index
from remoteclip_jax.data.image_files import is_image_name
from remoteclip_jax.data.listing import image_paths, subdirectories, visible_entries
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.splits import ALL, reference_split, split_role
from remoteclip_jax.data.types import Dataset, Example

NON_CLASS_NAMES = ("images", "annotations", "labels", "jpegimages", "imagesets", "splits")


def is_folder(data_dir: Path) -> bool:
    """Whether `data_dir` has class folders with images."""
    return any(
        is_image_name(file)
        for split in folder_splits(data_dir)
        for path in _class_folders(data_dir, split)
        for file in _files(path)
    )


def folder_splits(data_dir: Path) -> tuple[str, ...]:
    """The directories with class folders; a single split of all images if the class folders are at the top level."""
    names = [path.name for path in subdirectories(data_dir)]
    splits = tuple(name for name in names if subdirectories(data_dir / name))
    at_top = bool(names) and not any(split_role(name) or name.casefold() in NON_CLASS_NAMES for name in names)
    return splits or ((ALL,) if at_top else ())


def folder_classes(data_dir: Path) -> tuple[str, ...]:
    """The class folders of the training split (or the first split), in alphabetical order."""
    return tuple(path.name for path in _class_folders(data_dir, reference_split(folder_splits(data_dir))))


def _class_folders(data_dir: Path, split: str) -> list[Path]:
    at_top = folder_splits(data_dir) == (ALL,) and not (data_dir / ALL).is_dir()
    return subdirectories(data_dir if at_top else data_dir / split)


def read_folder(data_dir: Path, split: str, classes: Sequence[str], images: ImageOpener) -> Dataset:
    """One split, with one object that fills each image. UserError for unknown class folders and broken images."""
    notes, examples = Notes(split), []
    directories = _class_folders(data_dir, split)
    for file in visible_entries(directories[0].parent if directories else data_dir / split):
        if is_image_name(file):
            notes.add("images skipped, which are not in a class folder", file)
    for directory in directories:
        label = class_index(directory.name, classes, directory)
        for path in image_paths(_files(directory), notes):
            if path.parent != directory:
                notes.add("images in folders inside a class folder, read as of that class", path)
            header = images.header(path)
            if header is not None:
                whole = np.array([[0.5, 0.5, 1, 1]], np.float32)
                examples.append(Example(path, *header.size, whole, np.array([label], np.int32)))
    return Dataset(split, tuple(classes), tuple(examples), has_boxes=False, notes=notes.lines())


def _files(directory: Path) -> Iterator[Path]:
    """The files in a class folder, and then those in its subfolders. Links are followed, but not in circles."""
    yield from _walk(directory, frozenset())


def _walk(directory: Path, ancestors: frozenset[Path]) -> Iterator[Path]:
    ancestors = ancestors | {directory.resolve()}
    entries = visible_entries(directory)
    yield from (path for path in entries if not path.is_dir())
    for path in entries:
        if path.is_dir() and path.resolve() not in ancestors:
            yield from _walk(path, ancestors)
