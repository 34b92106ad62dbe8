"""Reader of COCO annotations, as many tools write them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from remoteclip_jax.data.broken_images import ImageOpener
from remoteclip_jax.data.classes import class_index
from remoteclip_jax.data.formats.coco_categories import category_ids, grouping_category, normalised_id, read_categories
from remoteclip_jax.data.formats.coco_layout import CocoLayout, coco_layout, load_coco
from remoteclip_jax.data.formats.examples import make_example
from remoteclip_jax.data.formats.file_finder import FileFinder
from remoteclip_jax.data.formats.stated_size import SizedImage, resolve_frames
from remoteclip_jax.data.formats.voc import MAX_COORDINATE
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.splits import reference_split
from remoteclip_jax.data.types import Annotations, Dataset, Example
from remoteclip_jax.errors import UserError

Box = Float64[np.ndarray, " 4"]
_MALFORMED = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError)


def is_coco(data_dir: Path) -> bool:
    """Whether `data_dir` has COCO annotations."""
    return coco_layout(data_dir) is not None


def coco_splits(data_dir: Path) -> tuple[str, ...]:
    """The splits that have a JSON file."""
    return tuple(_layout(data_dir).files)


def coco_layout_name(data_dir: Path) -> str:
    """The variant of the layout, for people."""
    return _layout(data_dir).name


def coco_classes(data_dir: Path) -> tuple[str, ...]:
    """The names of the categories in the training split (or the first split), in the order of their ids."""
    files = _layout(data_dir).files
    path = files[reference_split(tuple(files))]
    try:
        content = load_coco(path)
        categories = read_categories(path, content)
        grouping = grouping_category(content, categories)
    except _MALFORMED as e:
        raise _malformed(path, e) from None
    # Some tools export a name under two ids.
    return tuple(dict.fromkeys(name for category_id, name in categories.items() if category_id != grouping))


def read_coco(data_dir: Path, split: str, classes: Sequence[str], images: ImageOpener) -> Dataset:
    """One split.

    UserError, naming the file and the image or annotation, for broken JSON, missing keys or images, invalid boxes, and
    annotations of unknown images or categories.
    """
    layout = _layout(data_dir)
    path, notes = layout.files[split], Notes(split)
    content = load_coco(path)
    try:
        categories = read_categories(path, content)
        grouping = grouping_category(content, categories)
        if grouping is not None:
            del categories[grouping]
            notes.add("category left out, which only groups the others", path)
        labels = {category_id: class_index(name, classes, path) for category_id, name in categories.items()}
        objects = _annotations(path, content, labels, notes)
        examples = _read_images(path, layout, data_dir, split, content, objects, images, notes)
    except _MALFORMED as e:
        raise _malformed(path, e) from None
    ids = category_ids(categories, classes)
    return Dataset(split, tuple(classes), tuple(examples), notes=notes.lines(), category_ids=ids)


def _layout(data_dir: Path) -> CocoLayout:
    layout = coco_layout(data_dir)
    if layout is None:
        raise UserError(f"{data_dir}: no COCO annotations here")
    return layout


def _malformed(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not in COCO's format ({type(error).__name__}: {error})")


def _annotations(path: Path, content: Any, labels: dict[Any, int], notes: Notes) -> dict[Any, list[Any]]:
    """For each image id, the annotations with a box, as (box, area, label, crowd, difficult)."""
    objects: dict[Any, list[Any]] = {normalised_id(image["id"]): [] for image in content["images"]}
    if len(objects) < len(content["images"]):
        raise UserError(f"{path}: two images have the same id")
    for index, item in enumerate(content["annotations"]):
        which = f"annotation {item['id']!r}" if "id" in item else f"annotation at index {index} (counted from 0)"
        try:
            image, category = normalised_id(item["image_id"]), normalised_id(item["category_id"])
            if image not in objects:
                raise UserError(f"{path}: {which} belongs to image {item['image_id']!r}, which is not in the file")
            if category not in labels:
                raise UserError(f"{path}: {which} has category {item['category_id']!r}, which is not in the file")
            box = _box(path, f"{which} of image {item['image_id']!r}", item, notes)
            if box is None:
                continue
            area = item.get("area")
            area = box[2] * box[3] if area is None else float(area)
            if not np.isfinite(area):
                raise UserError(f"{path}: the area of {which} of image {item['image_id']!r} is not finite")
            crowd = bool(int(item.get("iscrowd") or 0))
            # Keys of tools that convert VOC; COCO itself has neither.
            difficult = any(bool(int(item.get(key) or 0)) for key in ("difficult", "ignore"))
        except _MALFORMED as e:
            raise UserError(f"{path}: not in COCO's format ({which}: {type(e).__name__}: {e})") from None
        where = f"{path.name}, {which}"
        notes.add("crowds ignored, as neither objects nor false positives", where, int(crowd))
        notes.add("difficult objects, ignored in training and in evaluation", where, int(difficult and not crowd))
        objects[image].append((box, area, labels[category], crowd, difficult))
    return objects


def _box(path: Path, which: str, item: Any, notes: Notes) -> Box | None:
    """The box (x, y, width, height) of an annotation. None if it has none, which is noted. UserError if invalid."""
    values = item.get("bbox")
    if values is None or values == []:
        if item.get("segmentation"):
            notes.add("annotations with a segmentation but no box skipped", f"{path.name}, {which}")
        else:
            notes.add("annotations without a box skipped", f"{path.name}, {which}")
        return None
    try:
        box = np.array([float(value) for value in values], np.float64)
    except _MALFORMED as e:
        raise UserError(f"{path}: the box of {which} is not in COCO's format ({type(e).__name__}: {e})") from None
    if box.shape != (4,):
        raise UserError(f"{path}: the box of {which} is not in COCO's format ({len(box)} numbers, not 4)")
    if not (np.abs(box) <= MAX_COORDINATE).all():
        raise UserError(f"{path}: the box of {which} is not finite: {box.tolist()}")
    return box


def _read_images(
    path: Path,
    layout: CocoLayout,
    data_dir: Path,
    split: str,
    content: Any,
    objects: dict[Any, list[Any]],
    images: ImageOpener,
    notes: Notes,
) -> list[Example]:
    finder, directories = FileFinder(data_dir), layout.image_directories(data_dir, split)
    names: dict[Path, str] = {}
    items, sized = [], []
    for item in content["images"]:
        name = str(item["file_name"])
        try:
            file = finder.find(name, directories)
        except UserError as e:
            raise UserError(f"{path}: image {item['id']!r}: {e}") from None
        if file is None:
            images.reject(name, UserError(f"{path}: there is no image {name!r} (id {item['id']!r}) in {data_dir}"))
            continue
        if names.setdefault(file, name) != name:
            raise UserError(f"{path}: the images {names[file]!r} and {name!r} would both be {file}")
        header = images.header(file)
        if header is not None:
            boxes = np.array([box for box, *_ in objects[normalised_id(item["id"])]], np.float64).reshape(-1, 4)
            items.append(item)
            sized.append(SizedImage(path, file, _stated_size(path, item), header.size, header.orientation, boxes))
    examples = []
    for item, image, frame in zip(items, sized, resolve_frames(sized, notes), strict=True):
        image_id = normalised_id(item["id"])
        _, areas, labels, crowd, difficult = zip(*objects[image_id], strict=True) if objects[image_id] else [()] * 5
        annotations = Annotations(
            item["id"] if isinstance(item["id"], str) else image_id,
            frame.width,
            frame.height,
            frame.boxes,
            np.array(areas, np.float64),
            np.array(labels, np.int32),
            np.array(crowd, bool),
            np.array(difficult, bool),
        )
        example, dropped = make_example(image.image, image.actual, annotations)
        notes.add("boxes without area dropped", f"{path.name}, image {item['id']!r}", dropped)
        examples.append(example)
    return examples


def _stated_size(path: Path, item: Any) -> tuple[int, int] | None:
    """The size (width, height) that the file states for an image; None if it states none, or zero."""
    width, height = item.get("width"), item.get("height")
    if not width or not height:
        return None
    try:
        size = int(float(width)), int(float(height))
    except _MALFORMED as e:
        raise UserError(f"{path}: not in COCO's format (image {item['id']!r}: {type(e).__name__}: {e})") from None
    if min(size) <= 0 or max(size) > MAX_COORDINATE:
        raise UserError(f"{path}: says {size[0]}x{size[1]} pixels for image {item['id']!r}")
    return size
