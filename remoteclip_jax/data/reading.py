"""One way to read a data set, whatever its layout."""

from collections.abc import Callable
from pathlib import Path

from remoteclip_jax.data.classes import DIOR_CLASSES
from remoteclip_jax.data.coco import coco_classes, is_coco, read_coco, splits_of_coco
from remoteclip_jax.data.depth import with_bands
from remoteclip_jax.data.dior import is_dior, read_dior, splits_of_dior
from remoteclip_jax.data.folder import folder_classes, is_folder, read_folder, splits_of_folder
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError

EXPECTED = {
    "dior": "images/, annotations/*.xml, splits/*.txt (or DIOR's official JPEGImages-*, Annotations, ImageSets/Main)",
    "coco": "annotations/instances_SPLIT.json with images in SPLIT/ or images/",
    "folder": "SPLIT/CLASS/*.jpg",
}
_RECOGNISE: dict[str, Callable[[Path], bool]] = {"dior": is_dior, "coco": is_coco, "folder": is_folder}
_SPLITS = {"dior": splits_of_dior, "coco": splits_of_coco, "folder": splits_of_folder}
_READ = {"dior": read_dior, "coco": read_coco, "folder": read_folder}


def recognise(data_dir: Path, dataset_format: str = "auto") -> str:
    """The layout of `data_dir`: "dior", "coco" or "folder". UserError where it is none, or not the one named."""
    if not data_dir.is_dir():
        raise UserError(f"{data_dir}: no such directory")
    if dataset_format not in ("auto", *EXPECTED):
        raise UserError(f"--dataset_format={dataset_format} is unknown; known: auto, {', '.join(EXPECTED)}")
    names = list(EXPECTED) if dataset_format == "auto" else [dataset_format]
    for name in names:
        if _RECOGNISE[name](data_dir):
            return name
    raise UserError(f"{data_dir}: no data set here; expected {'; or '.join(EXPECTED[name] for name in names)}")


def splits_of(data_dir: Path, dataset_format: str = "auto") -> tuple[str, ...]:
    """The splits that `data_dir` has."""
    return _SPLITS[recognise(data_dir, dataset_format)](data_dir)


def default_classes(data_dir: Path, dataset_format: str = "auto") -> tuple[str, ...]:
    """The 20 DIOR names (dior), the JSON's categories (coco), or the folders' names (folder)."""
    name = recognise(data_dir, dataset_format)
    return DIOR_CLASSES if name == "dior" else {"coco": coco_classes, "folder": folder_classes}[name](data_dir)


def read_dataset(
    data_dir: Path, split: str, dataset_format: str = "auto", classes: tuple[str, ...] | None = None,
    bands: tuple[int, ...] | None = None,
) -> Dataset:  # fmt: skip
    """Read a split; every annotation is parsed and every image's header is opened, so that what is broken shows now
    and not in the middle of training.

    `classes` None takes `default_classes`, `bands` None the first three of each image. UserError, naming the file, for
    whatever is missing, broken or unknown.
    """
    name = recognise(data_dir, dataset_format)
    splits = _SPLITS[name](data_dir)
    if split not in splits:
        raise UserError(f"{data_dir} has no split {split!r}; it has {', '.join(splits)}")
    dataset = _READ[name](data_dir, split, classes or default_classes(data_dir, name))
    if not len(dataset):
        raise UserError(f"{data_dir}: the split {split!r} is empty")
    return with_bands(dataset, bands)


def check_boxes(dataset: Dataset, data_dir: Path) -> Dataset:
    """`dataset`, as it is. UserError where its objects have no boxes, and so cannot be detected."""
    if not dataset.has_boxes:
        raise UserError(f"{data_dir}: class folders have no boxes to detect; give DIOR or COCO annotations")
    return dataset
