"""Scene classification: `SPLIT/CLASS/*.jpg`, for `align`; folders within a class are of the same class."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from remoteclip_jax.data.broken import Images
from remoteclip_jax.data.classes import resolve
from remoteclip_jax.data.image_files import is_image_name
from remoteclip_jax.data.listing import images_of, visible
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.splits import ALL, first_split, role
from remoteclip_jax.data.types import Dataset, Example

NO_CLASSES = ("images", "annotations", "labels", "jpegimages", "imagesets", "splits")


def is_folder(data_dir: Path) -> bool:
    return any(
        is_image_name(file)
        for split in splits_of_folder(data_dir)
        for path in _class_folders(data_dir, split)
        for file in _files(path)
    )


def splits_of_folder(data_dir: Path) -> tuple[str, ...]:
    """The directories that have class folders; one of all images where the class folders are at the top."""
    names = [path.name for path in _directories(data_dir)]
    splits = tuple(name for name in names if _directories(data_dir / name))
    at_top = bool(names) and not any(role(name) or name.casefold() in NO_CLASSES for name in names)
    return splits or ((ALL,) if at_top else ())


def folder_classes(data_dir: Path) -> tuple[str, ...]:
    """The class folders of the training split (or the first there is), in alphabetical order."""
    return tuple(path.name for path in _class_folders(data_dir, first_split(splits_of_folder(data_dir))))


def _class_folders(data_dir: Path, split: str) -> list[Path]:
    at_top = splits_of_folder(data_dir) == (ALL,) and not (data_dir / ALL).is_dir()
    return _directories(data_dir if at_top else data_dir / split)


def read_folder(data_dir: Path, split: str, classes: Sequence[str], images: Images) -> Dataset:
    """One split; a scene is one object that fills its image. UserError for unknown class folders and broken images."""
    notes, examples = Notes(split), []
    directories = _class_folders(data_dir, split)
    for file in visible(directories[0].parent if directories else data_dir / split):
        if is_image_name(file):
            notes.add("images passed over that lie in no class folder", file)
    for directory in directories:
        label = resolve(directory.name, classes, directory)
        for path in images_of(_files(directory), notes):
            if path.parent != directory:
                notes.add("images from folders within a class, taken as of that class", path)
            header = images.header(path)
            if header is not None:
                whole = np.array([[0.5, 0.5, 1, 1]], np.float32)
                examples.append(Example(path, *header.size, whole, np.array([label], np.int32)))
    return Dataset(split, tuple(classes), tuple(examples), has_boxes=False, notes=notes.lines())


def _directories(path: Path) -> list[Path]:
    return [inner for inner in visible(path) if inner.is_dir()]


def _files(directory: Path) -> Iterator[Path]:
    """The files in a class folder, and then those in the folders within it; links are followed, but not round."""
    yield from _walk(directory, frozenset())


def _walk(directory: Path, above: frozenset[Path]) -> Iterator[Path]:
    above = above | {directory.resolve()}
    inside = visible(directory)
    yield from (path for path in inside if not path.is_dir())
    for path in inside:
        if path.is_dir() and path.resolve() not in above:
            yield from _walk(path, above)
