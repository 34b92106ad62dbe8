"""Scene classification: `SPLIT/CLASS/*.jpg`, for `align`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from remoteclip_jax.data.classes import resolve
from remoteclip_jax.data.images import EXTENSIONS, image_size
from remoteclip_jax.data.splits import ALL, first_split, role
from remoteclip_jax.data.types import Dataset, Example

NO_CLASSES = ("images", "annotations", "labels", "jpegimages", "imagesets", "splits")


def is_folder(data_dir: Path) -> bool:
    return any(_images(path) for split in splits_of_folder(data_dir) for path in _class_folders(data_dir, split))


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


def read_folder(data_dir: Path, split: str, classes: Sequence[str]) -> Dataset:
    """One split; a scene is one object that fills its image. UserError for unknown class folders and broken images."""
    examples = []
    for directory in _class_folders(data_dir, split):
        label = resolve(directory.name, classes, directory)
        for path in _images(directory):
            whole = np.array([[0.5, 0.5, 1, 1]], np.float32)
            examples.append(Example(path, *image_size(path), whole, np.array([label], np.int32)))
    return Dataset(split, tuple(classes), tuple(examples), has_boxes=False)


def _directories(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")) if path.is_dir() else []


def _images(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.suffix.lower() in EXTENSIONS and not p.name.startswith("."))
