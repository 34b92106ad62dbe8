"""COCO annotations: what a JSON file says of its images, by whatever tool it was written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from remoteclip_jax.data.broken import Images
from remoteclip_jax.data.classes import find, resolve
from remoteclip_jax.data.formats.coco_layout import CocoLayout, coco_layout, load_coco
from remoteclip_jax.data.formats.finding import Finder
from remoteclip_jax.data.formats.objects import make_example
from remoteclip_jax.data.formats.stated_size import Sized, settle_sizes
from remoteclip_jax.data.formats.voc import LARGEST
from remoteclip_jax.data.notes import Notes, shown
from remoteclip_jax.data.splits import first_split
from remoteclip_jax.data.types import Annotated, Dataset, Example
from remoteclip_jax.errors import UserError

Box = Float64[np.ndarray, " 4"]
_MALFORMED = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError)


def is_coco(data_dir: Path) -> bool:
    return coco_layout(data_dir) is not None


def splits_of_coco(data_dir: Path) -> tuple[str, ...]:
    return tuple(_layout(data_dir).files)


def told_coco(data_dir: Path) -> str:
    return _layout(data_dir).told


def coco_classes(data_dir: Path) -> tuple[str, ...]:
    """The categories' names, in the order of their ids, of the training split (or the first there is)."""
    files = _layout(data_dir).files
    path = files[first_split(tuple(files))]
    try:
        content = load_coco(path)
        categories = _categories(path, content)
        dummy = _dummy(content, categories)
    except _MALFORMED as e:
        raise _malformed(path, e) from None
    # Some exporters list a name under two ids.
    return tuple(dict.fromkeys(name for number, name in categories.items() if number != dummy))


def read_coco(data_dir: Path, split: str, classes: Sequence[str], images: Images) -> Dataset:
    """One split. UserError, naming the file and the image or the annotation, for broken JSON, missing keys or images,
    boxes that are none, and annotations of unknown images or categories."""
    layout = _layout(data_dir)
    path, notes = layout.files[split], Notes(split)
    content = load_coco(path)
    try:
        categories = _categories(path, content)
        dummy = _dummy(content, categories)
        if dummy is not None:
            del categories[dummy]
            notes.add("category that only groups the others left out", path)
        labels = {number: resolve(name, classes, path) for number, name in categories.items()}
        objects = _annotations(path, content, labels, notes)
        examples = _read_images(path, layout, data_dir, split, content, objects, images, notes)
    except _MALFORMED as e:
        raise _malformed(path, e) from None
    ids = _category_ids(categories, classes)
    return Dataset(split, tuple(classes), tuple(examples), notes=notes.lines(), category_ids=ids)


def _layout(data_dir: Path) -> CocoLayout:
    layout = coco_layout(data_dir)
    if layout is None:
        raise UserError(f"{data_dir}: no COCO annotations here")
    return layout


def _malformed(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not in COCO's format ({type(error).__name__}: {error})")


def _number(value: Any) -> Any:
    """An id, the same whether it is written 7, "7", "007" or 7.0. TypeError for what is neither number nor string."""
    if isinstance(value, str):
        plain = value.isascii() and len(value) < 20 and value.removeprefix("-").isdigit()
        return int(value) if plain else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no id")
    return int(value) if float(value).is_integer() else value


def _categories(path: Path, content: Any) -> dict[Any, str]:
    """Names by id, in the order of the ids."""
    try:
        items = [(_number(item["id"]), _name(path, item)) for item in content["categories"]]
    except (KeyError, TypeError) as e:
        raise UserError(f"{path}: not in COCO's format (categories: {type(e).__name__}: {e})") from None
    categories = dict(sorted(items, key=lambda item: (isinstance(item[0], str), item[0])))
    if len(categories) < len(items):
        raise UserError(f"{path}: two categories have the same id")
    return categories


def _name(path: Path, category: Any) -> str:
    """Its name. UserError for one that cannot be written or is blank; KeyError where there is none."""
    name = category["name"]
    if not isinstance(name, str | int) or not str(name).strip() or shown(str(name)) != str(name):
        raise UserError(f"{path}: category {category['id']!r} is called {name!r}; give it a name")
    return str(name)


def _dummy(content: Any, categories: dict[Any, str]) -> Any:
    """The id of the category that Roboflow puts before the others, whose supercategory it is: no object has it."""
    others = [item.get("supercategory") for item in content["categories"] if _number(item["id"]) != 0]
    if 0 not in categories or not others or any(name != categories[0] for name in others):
        return None
    return None if any(_number(item["category_id"]) == 0 for item in content["annotations"]) else 0


def _category_ids(categories: dict[Any, str], classes: Sequence[str]) -> tuple[int, ...]:
    """The file's ids of `classes`; one that the file does not know, or has no number for, gets an unused one above."""
    known: dict[int, int] = {}
    for number, name in categories.items():
        index = find(name, classes)
        if isinstance(number, int) and index is not None:
            known.setdefault(index, number)
    unused = max((number for number in categories if isinstance(number, int)), default=0)
    ids = []
    for index in range(len(classes)):
        if index not in known:
            unused += 1
        ids.append(known.get(index, unused))
    return tuple(ids)


def _annotations(path: Path, content: Any, labels: dict[Any, int], notes: Notes) -> dict[Any, list[Any]]:
    """By image id, its annotations that have a box: (box, area, label, crowd)."""
    objects: dict[Any, list[Any]] = {_number(image["id"]): [] for image in content["images"]}
    if len(objects) < len(content["images"]):
        raise UserError(f"{path}: two images have the same id")
    for place, item in enumerate(content["annotations"]):
        of = f"annotation {item['id']!r}" if "id" in item else f"annotation at place {place} (counted from 0)"
        try:
            image, category = _number(item["image_id"]), _number(item["category_id"])
            if image not in objects:
                raise UserError(f"{path}: {of} belongs to image {item['image_id']!r}, which is not in the file")
            if category not in labels:
                raise UserError(f"{path}: {of} has category {item['category_id']!r}, which is not in the file")
            box = _box(path, f"{of} of image {item['image_id']!r}", item, notes)
            if box is None:
                continue
            area = item.get("area")
            area = box[2] * box[3] if area is None else float(area)
            if not np.isfinite(area):
                raise UserError(f"{path}: the area of {of} of image {item['image_id']!r} is not finite")
            crowd = bool(int(item.get("iscrowd") or 0))
        except _MALFORMED as e:
            raise UserError(f"{path}: not in COCO's format ({of}: {type(e).__name__}: {e})") from None
        notes.add("crowds ignored, neither objects nor false alarms", f"{path.name}, {of}", int(crowd))
        objects[image].append((box, area, labels[category], crowd))
    return objects


def _box(path: Path, of: str, item: Any, notes: Notes) -> Box | None:
    """(x, y, width, height); None where there is none, which is noted. UserError where it is not four numbers."""
    values = item.get("bbox")
    if values is None or values == []:
        if item.get("segmentation"):
            notes.add("annotations with a segmentation but no box skipped", f"{path.name}, {of}")
        else:
            notes.add("annotations without a box skipped", f"{path.name}, {of}")
        return None
    try:
        box = np.array([float(value) for value in values], np.float64)
    except _MALFORMED as e:
        raise UserError(f"{path}: the box of {of} is not in COCO's format ({type(e).__name__}: {e})") from None
    if box.shape != (4,):
        raise UserError(f"{path}: the box of {of} is not in COCO's format ({len(box)} numbers, not 4)")
    if not (np.abs(box) <= LARGEST).all():
        raise UserError(f"{path}: the box of {of} is not finite: {box.tolist()}")
    return box


def _read_images(
    path: Path,
    layout: CocoLayout,
    data_dir: Path,
    split: str,
    content: Any,
    objects: dict[Any, list[Any]],
    images: Images,
    notes: Notes,
) -> list[Example]:
    finder, places = Finder(data_dir), layout.places(data_dir, split)
    names: dict[Path, str] = {}
    items, sized = [], []
    for item in content["images"]:
        name = str(item["file_name"])
        try:
            file = finder.find(name, places)
        except UserError as e:
            raise UserError(f"{path}: image {item['id']!r}: {e}") from None
        if file is None:
            images.fail(name, UserError(f"{path}: there is no image {name!r} (id {item['id']!r}) in {data_dir}"))
            continue
        if names.setdefault(file, name) != name:
            raise UserError(f"{path}: the images {names[file]!r} and {name!r} would both be {file}")
        header = images.header(file)
        if header is not None:
            boxes = np.array([box for box, *_ in objects[_number(item["id"])]], np.float64).reshape(-1, 4)
            items.append(item)
            sized.append(Sized(path, file, _stated(path, item), header.size, header.orientation, boxes))
    examples = []
    for item, image, frame in zip(items, sized, settle_sizes(sized, notes), strict=True):
        number = _number(item["id"])
        _, areas, labels, crowd = zip(*objects[number], strict=True) if objects[number] else ((), (), (), ())
        annotated = Annotated(
            item["id"] if isinstance(item["id"], str) else number,
            frame.width,
            frame.height,
            frame.boxes,
            np.array(areas, np.float64),
            np.array(labels, np.int32),
            np.array(crowd, bool),
            np.zeros(len(labels), bool),
        )
        example, without_area = make_example(image.image, image.actual, annotated)
        notes.add("boxes without area dropped", f"{path.name}, image {item['id']!r}", without_area)
        examples.append(example)
    return examples


def _stated(path: Path, item: Any) -> tuple[int, int] | None:
    """The size (width, height) that the file states of an image; None where it does not, or says zero."""
    width, height = item.get("width"), item.get("height")
    if not width or not height:
        return None
    try:
        size = int(float(width)), int(float(height))
    except _MALFORMED as e:
        raise UserError(f"{path}: not in COCO's format (image {item['id']!r}: {type(e).__name__}: {e})") from None
    if min(size) <= 0 or max(size) > LARGEST:
        raise UserError(f"{path}: says {size[0]}x{size[1]} pixels for image {item['id']!r}")
    return size
