"""One way to read a data set, whatever its layout."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from remoteclip_jax.data.broken import Images
from remoteclip_jax.data.classes import DIOR_CLASSES
from remoteclip_jax.data.depth import with_bands
from remoteclip_jax.data.formats.coco import coco_classes, is_coco, read_coco, splits_of_coco, told_coco
from remoteclip_jax.data.formats.dior import is_dior, read_dior, splits_of_dior, told_dior
from remoteclip_jax.data.formats.folder import folder_classes, is_folder, read_folder, splits_of_folder
from remoteclip_jax.data.formats.yolo import is_yolo, read_yolo, splits_of_yolo, told_yolo, yolo_classes
from remoteclip_jax.data.plausible import check_plausible
from remoteclip_jax.data.splits import TRAIN, parts, role
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Format:
    """A way to keep a data set on disk. `told` says which variant of it a directory has."""

    expected: str
    recognise: Callable[[Path], bool]
    splits: Callable[[Path], tuple[str, ...]]
    classes: Callable[[Path], tuple[str, ...]]
    read: Callable[[Path, str, Sequence[str], Images], Dataset]
    told: Callable[[Path], str]


# In the order in which they are looked for: `train/images/` of YOLO would be a class folder, too.
FORMATS = {
    "dior": Format(
        "images/, annotations/*.xml, splits/*.txt (or DIOR's official JPEGImages-*, Annotations, ImageSets/Main)",
        is_dior,
        splits_of_dior,
        lambda _: DIOR_CLASSES,
        read_dior,
        told_dior,
    ),
    "coco": Format(
        "annotations/instances_SPLIT.json with images in SPLIT/ or images/ (or SPLIT/_annotations.coco.json)",
        is_coco,
        splits_of_coco,
        coco_classes,
        read_coco,
        told_coco,
    ),
    "yolo": Format(
        "data.yaml with names, train and val, and labels/*.txt for images/*",
        is_yolo,
        splits_of_yolo,
        yolo_classes,
        read_yolo,
        told_yolo,
    ),
    "folder": Format(
        "SPLIT/CLASS/*.jpg", is_folder, splits_of_folder, folder_classes, read_folder, lambda _: "class folders"
    ),
}


def recognise(data_dir: Path, dataset_format: str = "auto") -> str:
    """The layout of `data_dir`: one of `FORMATS`. UserError where it is none, or not the one named."""
    if not data_dir.is_dir():
        what = "a file; name the directory of the data set" if data_dir.exists() else "no such directory"
        raise UserError(f"{data_dir}: {what}")
    if dataset_format not in ("auto", *FORMATS):
        raise UserError(f"--dataset_format={dataset_format} is unknown; known: auto, {', '.join(FORMATS)}")
    names = list(FORMATS) if dataset_format == "auto" else [dataset_format]
    for name in names:
        if FORMATS[name].recognise(data_dir):
            return name
    raise UserError(f"{data_dir}: no data set here; expected {'; or '.join(FORMATS[name].expected for name in names)}")


def splits_of(data_dir: Path, dataset_format: str = "auto") -> tuple[str, ...]:
    """The splits that `data_dir` has, by the names that it gives them."""
    return FORMATS[recognise(data_dir, dataset_format)].splits(data_dir)


def find_parts(data_dir: Path, split: str, dataset_format: str = "auto") -> tuple[str, ...]:
    """The splits of `data_dir` that `split` is made of, by their own names (see `splits.parts`); empty where there is
    no such split. UserError where it may be one of several."""
    splits = splits_of(data_dir, dataset_format)
    try:
        return parts(split, splits)
    except UserError as e:
        raise UserError(f"{data_dir}: {e}") from None


def default_classes(data_dir: Path, dataset_format: str = "auto") -> tuple[str, ...]:
    """The 20 DIOR names (dior), the JSON's categories (coco), the YAML's names (yolo), or the folders' (folder)."""
    return FORMATS[recognise(data_dir, dataset_format)].classes(data_dir)


def read_dataset(
    data_dir: Path,
    split: str,
    dataset_format: str = "auto",
    classes: tuple[str, ...] | None = None,
    bands: tuple[int, ...] | None = None,
    skip_broken: bool = False,
) -> Dataset:
    """Read a split; every annotation is parsed and every image's header is opened, so that what is broken shows now
    and not in the middle of training. With `skip_broken`, images that cannot be read are left out, counted and named;
    they are all decoded for that.

    `split` may be spelled as the data do not (see `find_split`), or join several with `+`; the result has it as it was
    asked for, and says in `found` what it is there. `classes` None takes `default_classes`, `bands` None the first
    three of each image. UserError, naming the file, for whatever is missing, broken, unknown or cannot be meant so.
    """
    name = recognise(data_dir, dataset_format)
    kind = FORMATS[name]
    found = find_parts(data_dir, split, name)
    if not found:
        known = ", ".join(kind.splits(data_dir))
        raise UserError(f"{data_dir} has no split {split!r}; it has {known}: name one of these")
    classes = classes or kind.classes(data_dir)
    datasets = [_read_part(data_dir, part, split, name, classes, skip_broken) for part in found]
    dataset = dataclasses.replace(
        datasets[0],
        examples=_named_apart([example for d in datasets for example in d.examples], data_dir),
        notes=tuple(dict.fromkeys(note for d in datasets for note in d.notes)),
        found="+".join(found),
        layout=kind.told(data_dir),
    )
    if not len(dataset):
        raise UserError(f"{data_dir}: the split {split!r} is empty")
    if role(split) == TRAIN and role(found[0]) is None and split not in found:
        note = f"{split}: there are no splits here, so all images are read as {split!r}"
        dataset = dataclasses.replace(dataset, notes=(note, *dataset.notes), found=split)
    return with_bands(dataset, bands)


def _read_part(
    data_dir: Path, part: str, asked: str, name: str, classes: tuple[str, ...], skip_broken: bool
) -> Dataset:
    images = Images(skip_broken)
    dataset = images.decoded(FORMATS[name].read(data_dir, part, classes, images))
    if dataset.has_boxes:
        dataset = dataclasses.replace(dataset, notes=(*dataset.notes, *check_plausible(dataset, name, data_dir)))
    notes = tuple(asked + note.removeprefix(part) if note.startswith(f"{part}:") else note for note in dataset.notes)
    return dataclasses.replace(dataset, split=asked, notes=notes)


def _named_apart(examples: list[Example], data_dir: Path) -> tuple[Example, ...]:
    """`examples`, those that share an image id named by their paths instead: an id must tell an image from all others,
    where several files were read as well."""
    counts = Counter(example.annotated.image_id for example in examples if example.annotated)
    result = []
    for example in examples:
        if example.annotated and counts[example.annotated.image_id] > 1:
            name = example.image.relative_to(data_dir).with_suffix("").as_posix()
            example = dataclasses.replace(example, annotated=dataclasses.replace(example.annotated, image_id=name))
        result.append(example)
    return tuple(result)


def what_was_read(data_dir: Path, datasets: Sequence[Dataset]) -> str:
    """One line: the layout that was recognised, and which splits were read, with how many images."""
    counts = ", ".join(
        f"{d.split} {len(d)} images" + (f" (its split {d.found!r})" if d.found not in ("", d.split) else "")
        for d in datasets
    )
    return f"data: {datasets[0].layout} in {data_dir}: {counts}"


def check_boxes(dataset: Dataset, data_dir: Path) -> Dataset:
    """`dataset`, as it is. UserError where its objects have no boxes, and so cannot be detected."""
    if not dataset.has_boxes:
        raise UserError(f"{data_dir}: class folders have no boxes to detect; give DIOR, COCO or YOLO annotations")
    return dataset
