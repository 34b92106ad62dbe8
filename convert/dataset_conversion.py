"""A whole conversion of a data set: read all splits, express them in the other format, and write that."""

import dataclasses
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from convert.dataset_writers.coco import COCO
from convert.dataset_writers.dota import DOTA
from convert.dataset_writers.images import is_jpeg, write_images
from convert.dataset_writers.items import Item, Split, Target
from convert.dataset_writers.names import ImageNames, class_names
from convert.dataset_writers.voc import VOC
from convert.dataset_writers.windows import cut_annotations, windows_of
from convert.dataset_writers.yolo import YOLO
from remoteclip_jax.data.images import read_header
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.reading import (
    EmptySplitError,
    dataset_summary,
    read_dataset,
    recognised_format,
    require_boxes,
    split_names,
)
from remoteclip_jax.data.splits import TRAIN, TRAINVAL, VAL, split_role
from remoteclip_jax.data.types import Annotations, Dataset, Example
from remoteclip_jax.errors import UserError

TARGETS = {"coco": COCO, "yolo": YOLO, "voc": VOC, "dota": DOTA}


@dataclasses.dataclass(frozen=True)
class Cutting:
    """Windows of `window` pixels a side, neighbours of which share at least a share `overlap`. UserError for values out
    of range."""

    window: int
    overlap: float = 0.25

    def __post_init__(self) -> None:
        if self.window < 32:
            raise UserError(f"--window={self.window} is too small: the smallest is 32 pixels")
        if not 0 <= self.overlap <= 0.9:
            raise UserError(f"--overlap={self.overlap} is out of range: it must lie between 0 and 0.9")


def convert_dataset(
    data_dir: Path,
    to: str,
    output: Path,
    dataset_format: str = "auto",
    cutting: Cutting | None = None,
    classes: tuple[str, ...] | None = None,
    skip_broken: bool = False,
    progress: bool = False,
) -> list[str]:
    """Write all splits of `data_dir` in the format `to`, a key of `TARGETS`, to the directory `output`, which must be
    new or empty.

    Returns lines for people: what was recognised, what was dropped, renamed or cut, and what was written. UserError for
    data that cannot be read or written; nothing is left in `output` then.
    """
    _check_output(output, data_dir)
    target, source_format = TARGETS[to], recognised_format(data_dir, dataset_format)
    datasets, lines = read_all_splits(data_dir, source_format, classes, skip_broken)
    names: dict[str, ImageNames] = {}
    splits = []
    for dataset in datasets:
        name = target.split_name(dataset.split, len(datasets) == 1)
        if name is None:
            raise UserError(f"{data_dir}: {to} cannot have a split {dataset.split!r}; rename it, or write --to=coco")
        if name != dataset.split:
            lines.append(f"{dataset.split}: written as {name!r}, for {to} names splits by what they are for")
        notes = Notes(name)
        namer = names.setdefault(target.image_directory(name), ImageNames())
        items = tuple(
            dataclasses.replace(item, annotations=_expressible(item, target, notes))
            for example in dataset.examples
            for item in _items(example, namer, cutting, notes)
        )
        ids = dataset.category_ids if source_format == to else None
        splits.append(Split(name, class_names(dataset.classes, target.class_name, notes), ids, items))
        lines += notes.lines()
    if source_format == "coco":
        lines.append("of COCO's annotations, boxes, areas, crowds and difficult ones are kept, and not segmentations")
    images = {output / target.image_directory(split.name) / item.name: item for split in splits for item in split.items}
    with _all_or_nothing(output):
        write_images(images, progress)
        target.write(output, splits)
    return [*lines, _description(target, output, splits)]


def read_all_splits(
    data_dir: Path, source_format: str, classes: tuple[str, ...] | None, skip_broken: bool
) -> tuple[list[Dataset], list[str]]:
    """All splits of a data set with boxes, and the lines about them. A `trainval` that is train and val is left out,
    for it is read as those."""
    datasets: list[Dataset] = []
    remarks = []
    for name in split_names(data_dir, source_format):
        try:
            dataset = read_dataset(data_dir, name, source_format, classes, skip_broken=skip_broken)
        except EmptySplitError as e:
            remarks.append(f"{e}, and not written")
        else:
            datasets.append(require_boxes(dataset, data_dir))
    if not datasets:
        raise UserError(f"{data_dir}: no split has an image")
    parts = {example.image for d in datasets if split_role(d.split) in (TRAIN, VAL) for example in d.examples}
    joined = [d for d in datasets if split_role(d.split) == TRAINVAL and parts >= {e.image for e in d.examples}]
    remarks += [f"{d.split}: not written, for its images are those of train and val" for d in joined]
    kept = [d for d in datasets if d not in joined]
    notes = dict.fromkeys(note for d in kept for note in d.notes)
    return kept, [dataset_summary(data_dir, kept), *remarks, *notes]


def _items(example: Example, names: ImageNames, cutting: Cutting | None, notes: Notes) -> Iterator[Item]:
    """The image, or its windows if it is larger than those."""
    image, size = example.image, (example.width, example.height)
    assert isinstance(image, Path)  # all formats with boxes have files
    a = _in_image_pixels(example)
    keep = np.asarray((a.boxes[:, 2:] > 0).all(-1))
    notes.add("boxes without width or height not written", image, int((~keep).sum()))
    a = _selected(a, keep)
    if cutting is None or max(size) <= cutting.window:
        yield Item(image, names.name(image, image.stem, image.suffix, notes), a)
        return
    windows = windows_of(*size, cutting.window, cutting.overlap)
    notes.add("images cut into windows", image)
    notes.add("windows written", image, len(windows))
    header = read_header(image)
    if header.wide_type or header.bands > 3:
        notes.add("images of more than eight bits or three bands cut as eight bits of RGB", image)
    suffix = ".jpg" if is_jpeg(image) else ".png"
    for window, part in zip(windows, cut_annotations(a, windows, image, notes), strict=True):
        name = names.name(image, f"{image.stem}__{window[0]}_{window[1]}", suffix, notes)
        yield Item(image, name, part, window)


def _in_image_pixels(example: Example) -> Annotations:
    """The annotation as the file has it, in pixels of the image at hand."""
    a = example.annotations
    assert a is not None  # all formats with boxes keep it
    if (a.width, a.height) == (example.width, example.height):
        return a
    scale = np.array([example.width / a.width, example.height / a.height])
    return dataclasses.replace(
        a,
        width=example.width,
        height=example.height,
        boxes=a.boxes * np.tile(scale, 2),
        areas=a.areas * scale.prod(),
    )


def _expressible(item: Item, target: Target, notes: Notes) -> Annotations:
    """The annotations of an item as `target` can hold them.

    A crowd is a difficult object where there are no crowds: both are ignored. Where nothing can be ignored, they are
    left out, for as objects they would be learned from.
    """
    a, title = item.annotations, target.title
    if target.has_crowds:
        return a
    if target.has_difficult:
        notes.add(f"crowds written as difficult objects, for {title} has no crowds", item.source, int(a.crowd.sum()))
        return dataclasses.replace(a, crowd=np.zeros_like(a.crowd), difficult=a.crowd | a.difficult)
    ignored = a.crowd | a.difficult
    notes.add(f"ignored objects and crowds not written, for {title} cannot mark them", item.source, int(ignored.sum()))
    return _fractions(_selected(a, ~ignored), item.source, title, notes)


def _fractions(a: Annotations, source: Path, title: str, notes: Notes) -> Annotations:
    """The annotations with centres and sides that are fractions of the image: others are clipped to it, and left out if
    nothing is left. Where a number exceeds 1, Ultralytics leaves out the image with all of its labels."""
    size = np.array([a.width, a.height], np.float64)
    centres = a.boxes[:, :2] + a.boxes[:, 2:] / 2
    fits = np.asarray(((centres >= 0) & (centres <= size) & (a.boxes[:, 2:] <= size)).all(-1))
    if fits.all():
        return a
    low, high = np.clip(a.boxes[:, :2], 0, size), np.clip(a.boxes[:, :2] + a.boxes[:, 2:], 0, size)
    clipped = np.where(fits[:, None], a.boxes, np.concatenate([low, high - low], 1))
    keep = np.asarray((clipped[:, 2:] > 0).all(-1))
    notes.add(f"boxes clipped to their image, for {title} has fractions of it", source, int((keep & ~fits).sum()))
    notes.add("boxes outside of their image not written", source, int((~keep).sum()))
    return _selected(dataclasses.replace(a, boxes=clipped), keep)


def _selected(a: Annotations, keep: Bool[np.ndarray, " a"]) -> Annotations:
    columns = {name: getattr(a, name)[keep] for name in ("boxes", "areas", "labels", "crowd", "difficult")}
    return dataclasses.replace(a, **columns)


def _description(target: Target, output: Path, splits: Sequence[Split]) -> str:
    counts = []
    for split in splits:
        objects = sum(len(item.annotations.labels) for item in split.items)
        counts.append(f"{split.name} {len(split.items)} images with {objects} objects")
    return f"written: {target.title} in {output}: {', '.join(counts)}"


def _check_output(output: Path, data_dir: Path) -> None:
    if output.is_dir():
        if any(output.iterdir()):
            raise UserError(f"{output}: is not empty; choose another --output or remove it")
    elif output.exists() or output.is_symlink():
        raise UserError(f"{output}: is a file; --output takes a folder")
    if Path(os.path.realpath(output)).is_relative_to(os.path.realpath(data_dir)):
        raise UserError(f"{output}: lies in the data set, and would be read with it; choose another --output")


@contextmanager
def _all_or_nothing(output: Path) -> Iterator[None]:
    """Create the directory `output`; if what follows fails, remove all that is in it."""
    is_new = not output.is_dir()
    output.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for path in output.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if is_new:
            output.rmdir()
        raise
