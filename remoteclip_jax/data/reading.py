"""Reading a data set in any of the supported formats."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from remoteclip_jax.data.bands import with_bands
from remoteclip_jax.data.broken_images import ImageOpener
from remoteclip_jax.data.formats.coco import coco_classes, coco_layout_name, coco_splits, is_coco, read_coco
from remoteclip_jax.data.formats.dior import dior_classes, dior_layout_name, dior_splits, is_dior, read_dior
from remoteclip_jax.data.formats.dota import dota_classes, dota_layout_name, dota_splits, is_dota, read_dota
from remoteclip_jax.data.formats.folder import folder_classes, folder_splits, is_folder, read_folder
from remoteclip_jax.data.formats.yolo import is_yolo, read_yolo, yolo_classes, yolo_layout_name, yolo_splits
from remoteclip_jax.data.plausibility import check_box_plausibility
from remoteclip_jax.data.splits import TRAIN, component_splits, split_role
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.errors import UserError


class EmptySplitError(UserError):
    """A split that has no image."""


@dataclasses.dataclass(frozen=True)
class DatasetFormat:
    """A way to store a data set on disk, as functions of its directory.

    `expected` describes the layout for people; `layout_name` names the variant that a directory has.
    """

    expected: str
    matches: Callable[[Path], bool]
    splits: Callable[[Path], tuple[str, ...]]
    classes: Callable[[Path], tuple[str, ...]]
    read: Callable[[Path, str, Sequence[str], ImageOpener], Dataset]
    layout_name: Callable[[Path], str]


# The first format that matches is used. The order matters: `train/images/` of YOLO would also be a class folder.
FORMATS = {
    "dior": DatasetFormat(
        "images/, annotations/*.xml, splits/*.txt (or DIOR's official JPEGImages-*, Annotations, ImageSets/Main)",
        is_dior,
        dior_splits,
        dior_classes,
        read_dior,
        dior_layout_name,
    ),
    "coco": DatasetFormat(
        "annotations/instances_SPLIT.json with images in SPLIT/ or images/ (or SPLIT/_annotations.coco.json)",
        is_coco,
        coco_splits,
        coco_classes,
        read_coco,
        coco_layout_name,
    ),
    "yolo": DatasetFormat(
        "data.yaml with names, train and val, and labels/*.txt for images/*",
        is_yolo,
        yolo_splits,
        yolo_classes,
        read_yolo,
        yolo_layout_name,
    ),
    "dota": DatasetFormat(
        "SPLIT/images/* with SPLIT/labelTxt/*.txt (or annfiles/, or both folders without splits)",
        is_dota,
        dota_splits,
        dota_classes,
        read_dota,
        dota_layout_name,
    ),
    "folder": DatasetFormat(
        "SPLIT/CLASS/*.jpg", is_folder, folder_splits, folder_classes, read_folder, lambda _: "class folders"
    ),
}


def recognised_format(data_dir: Path, dataset_format: str = "auto") -> str:
    """The format of `data_dir`: a key of `FORMATS`. UserError if it has none of them, or not the one named."""
    if not data_dir.is_dir():
        what = "a file; name the directory of the data set" if data_dir.exists() else "no such directory"
        raise UserError(f"{data_dir}: {what}")
    if dataset_format not in ("auto", *FORMATS):
        raise UserError(f"--dataset_format={dataset_format} is unknown; known: auto, {', '.join(FORMATS)}")
    names = list(FORMATS) if dataset_format == "auto" else [dataset_format]
    for name in names:
        if FORMATS[name].matches(data_dir):
            return name
    raise UserError(f"{data_dir}: no data set here; expected {'; or '.join(FORMATS[name].expected for name in names)}")


def split_names(data_dir: Path, dataset_format: str = "auto") -> tuple[str, ...]:
    """The splits of `data_dir`, by its own names for them."""
    return FORMATS[recognised_format(data_dir, dataset_format)].splits(data_dir)


def find_component_splits(data_dir: Path, split: str, dataset_format: str = "auto") -> tuple[str, ...]:
    """The splits of `data_dir` that make up `split`, by its own names for them (see `splits.component_splits`).

    Empty if there is no such split. UserError if several could be meant.
    """
    splits = split_names(data_dir, dataset_format)
    try:
        return component_splits(split, splits)
    except UserError as e:
        raise UserError(f"{data_dir}: {e}") from None


def default_classes(data_dir: Path, dataset_format: str = "auto") -> tuple[str, ...]:
    """The classes of `data_dir`: those in classes.txt, or DIOR's 20 (dior); the JSON's categories (coco); the YAML's
    names (yolo); those in the labels (dota); or the names of the folders (folder)."""
    return FORMATS[recognised_format(data_dir, dataset_format)].classes(data_dir)


def read_dataset(
    data_dir: Path,
    split: str,
    dataset_format: str = "auto",
    classes: tuple[str, ...] | None = None,
    bands: tuple[int, ...] | None = None,
    skip_broken: bool = False,
    allow_implausible: bool = False,
) -> Dataset:
    """Read one split.

    Every annotation is parsed and every image header is read, so that a broken file shows now and not in the middle of
    training. With `skip_broken`, images that cannot be read are left out, counted and named; all images are decoded to
    find them. With `allow_implausible`, boxes that seem to be in another convention than the format's are a note and no
    error, so that they can be looked at.

    `split` may be a synonym of the data's own name (see `find_split`), or join several names with `+`. The result has
    this name, and the data's own in `source_split`. `classes` defaults to `default_classes`, `bands` to the first three
    of each image. UserError, naming the file, for anything missing, broken, unknown or implausible.
    """
    name = recognised_format(data_dir, dataset_format)
    reader = FORMATS[name]
    components = find_component_splits(data_dir, split, name)
    if not components:
        known = ", ".join(reader.splits(data_dir))
        raise UserError(f"{data_dir} has no split {split!r}; it has {known}: name one of these")
    classes = classes or reader.classes(data_dir)
    datasets = [
        _read_component(data_dir, part, split, name, classes, skip_broken, allow_implausible) for part in components
    ]
    dataset = dataclasses.replace(
        datasets[0],
        examples=_with_unique_ids([example for d in datasets for example in d.examples], data_dir),
        notes=tuple(dict.fromkeys(note for d in datasets for note in d.notes)),
        source_split="+".join(components),
        layout=reader.layout_name(data_dir),
    )
    if not len(dataset):
        raise EmptySplitError(f"{data_dir}: the split {split!r} is empty")
    if split_role(split) == TRAIN and split_role(components[0]) is None and split not in components:
        note = f"{split}: there are no splits here, so all images are read as {split!r}"
        dataset = dataclasses.replace(dataset, notes=(note, *dataset.notes), source_split=split)
    return with_bands(dataset, bands)


def _read_component(
    data_dir: Path,
    part: str,
    requested: str,
    name: str,
    classes: tuple[str, ...],
    skip_broken: bool,
    allow_implausible: bool,
) -> Dataset:
    """The split `part` of the data under the name `requested`."""
    images = ImageOpener(skip_broken)
    dataset = images.readable(FORMATS[name].read(data_dir, part, classes, images))
    if dataset.has_boxes:
        try:
            remarks = check_box_plausibility(dataset, name, data_dir)
        except UserError as e:
            if not allow_implausible:
                raise
            remarks = (f"{part}: {e}",)
        dataset = dataclasses.replace(dataset, notes=(*dataset.notes, *remarks))
    notes = tuple(
        requested + note.removeprefix(part) if note.startswith(f"{part}:") else note for note in dataset.notes
    )
    return dataclasses.replace(dataset, split=requested, notes=notes)


def _with_unique_ids(examples: list[Example], data_dir: Path) -> tuple[Example, ...]:
    """`examples`, with the path as the image id if several share an id. Ids may repeat if several files were read."""
    counts = Counter(example.annotations.image_id for example in examples if example.annotations)
    result = []
    for example in examples:
        if example.annotations and counts[example.annotations.image_id] > 1:
            assert isinstance(example.image, Path)  # all formats with annotations have files
            name = example.image.relative_to(data_dir).with_suffix("").as_posix()
            example = dataclasses.replace(example, annotations=dataclasses.replace(example.annotations, image_id=name))
        result.append(example)
    return tuple(result)


def dataset_summary(data_dir: Path, datasets: Sequence[Dataset]) -> str:
    """One line: the layout that was recognised, and the splits that were read, with their numbers of images."""
    counts = ", ".join(
        f"{d.split} {len(d)} images"
        + (f" (its split {d.source_split!r})" if d.source_split not in ("", d.split) else "")
        for d in datasets
    )
    return f"data: {datasets[0].layout} in {data_dir}: {counts}"


def require_boxes(dataset: Dataset, data_dir: Path) -> Dataset:
    """`dataset` unchanged. UserError if its objects have no boxes, so that a detector cannot be trained on them."""
    if not dataset.has_boxes:
        raise UserError(f"{data_dir}: class folders have no boxes to detect; give DIOR, COCO, YOLO or DOTA annotations")
    return dataset
