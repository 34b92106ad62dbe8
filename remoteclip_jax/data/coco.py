"""COCO annotations: `annotations/instances_SPLIT.json`, images in `SPLIT/` or `images/`."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from remoteclip_jax.data.classes import resolve
from remoteclip_jax.data.files import Notes
from remoteclip_jax.data.images import image_size
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.data.voc import LARGEST, annotated_size, normalise_boxes
from remoteclip_jax.errors import UserError


def is_coco(data_dir: Path) -> bool:
    return bool(splits_of_coco(data_dir))


def splits_of_coco(data_dir: Path) -> tuple[str, ...]:
    files = sorted((data_dir / "annotations").glob("instances_*.json"))
    return tuple(path.stem.removeprefix("instances_") for path in files)


def coco_classes(data_dir: Path) -> tuple[str, ...]:
    """The categories' names, in the order of their ids, of the training split (or the first there is)."""
    splits = splits_of_coco(data_dir)
    path = _json_file(data_dir, "train" if "train" in splits else splits[0])
    return tuple(dict.fromkeys(_categories(path, _load(path)).values()))  # some exporters list a name under two ids


def read_coco(data_dir: Path, split: str, classes: Sequence[str]) -> Dataset:
    """One split; crowds are left out and counted. UserError, naming the file, for broken JSON, missing keys or images,
    and annotations of unknown images or categories."""
    path = _json_file(data_dir, split)
    content = _load(path)
    try:
        categories = _categories(path, content)
        labels = {number: resolve(name, classes, path) for number, name in categories.items()}
        objects: dict[Any, list[Any]] = {image["id"]: [] for image in content["images"]}
        if len(objects) < len(content["images"]):
            raise UserError(f"{path}: two images have the same id")
        notes = Notes(split)
        for item in content["annotations"]:
            if item.get("iscrowd"):
                notes.add("crowds left out", path)
            elif item["image_id"] not in objects:
                raise UserError(f"{path}: an annotation belongs to image {item['image_id']}, which is not in the file")
            elif item["category_id"] not in labels:
                raise UserError(f"{path}: an annotation has category {item['category_id']}, which is not in the file")
            else:
                objects[item["image_id"]].append(item)
        examples = [
            _read_example(path, data_dir, split, image, objects[image["id"]], labels, notes)
            for image in content["images"]
        ]
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as e:
        raise UserError(f"{path}: not in COCO's format ({type(e).__name__}: {e})") from None
    return Dataset(split, tuple(classes), tuple(examples), notes=notes.lines())


def _json_file(data_dir: Path, split: str) -> Path:
    return data_dir / "annotations" / f"instances_{split}.json"


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as e:
        raise UserError(f"{path}: broken JSON ({e})") from None
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None


def _categories(path: Path, content: Any) -> dict[Any, str]:
    try:
        items = sorted(content["categories"], key=lambda item: item["id"])
        categories = {item["id"]: str(item["name"]) for item in items}
    except (KeyError, TypeError) as e:
        raise UserError(f"{path}: not in COCO's format (categories: {type(e).__name__}: {e})") from None
    if len(categories) < len(items):
        raise UserError(f"{path}: two categories have the same id")
    return categories


def _read_example(
    path: Path, data_dir: Path, split: str, image: Any, items: list[Any], labels: dict[Any, int], notes: Notes
) -> Example:
    name = str(image["file_name"])
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"{path}: image {name!r} lies outside the data directory")
    candidates = [data_dir / split / name, data_dir / "images" / name, data_dir / "images" / split / name]
    file = next((candidate for candidate in candidates if os.path.isfile(candidate)), None)  # no name is too long
    if file is None:
        raise UserError(f"{path}: there is no image {name!r} in {split}/ or images/ of {data_dir}")
    size = image_size(file)
    stated = (int(image["width"]), int(image["height"])) if image.get("width") and image.get("height") else None
    corners = np.array([[float(x) for x in item["bbox"]] for item in items]).reshape(len(items), 4)
    if not (np.abs(corners) <= LARGEST).all():
        raise UserError(f"{path}: a box of {name!r} is not finite")
    corners[:, 2:] += corners[:, :2]
    boxes, keep = normalise_boxes(corners.astype(np.float32), *annotated_size(path, stated, file, size))
    notes.add("boxes without area dropped", path, int((~keep).sum()))
    return Example(file, *size, boxes, np.array([labels[i["category_id"]] for i in items], np.int32)[keep])
