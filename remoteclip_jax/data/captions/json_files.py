"""Captions in JSON: the layout of RSICD (Lu et al. 2017), which RSITMD, UCM-captions and Karpathy's splits of COCO
share, and COCO's own (Chen et al. 2015)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remoteclip_jax.data.captions.records import CaptionFile, CaptionRecord
from remoteclip_jax.data.formats.coco_categories import normalised_id
from remoteclip_jax.errors import UserError
from remoteclip_jax.files.text_files import read_text

EXPECTED = (
    "expected RSICD's layout (images: filename, split, sentences: raw) or COCO's (images: id, file_name; annotations: "
    "image_id, caption)"
)


def read_caption_json(path: Path, split: str | None) -> CaptionFile:
    """The captions in a JSON file. `split` is that of the file, for images that have none of their own.

    UserError, naming the file and the image or annotation, if it is not JSON or in neither layout.
    """
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as e:
        raise UserError(f"{path}: broken JSON ({e}); copy or download it again") from None
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise UserError(f"{path}: not a caption file: {EXPECTED}")
    if "annotations" in content:
        return CaptionFile("captions in COCO's JSON", _coco_records(path, images, content["annotations"], split))
    return CaptionFile("captions in RSICD's JSON", _rsicd_records(path, images, split))


def _rsicd_records(path: Path, images: Sequence[Any], split: str | None) -> tuple[CaptionRecord, ...]:
    records = []
    for index, image in enumerate(images):
        where = f"the image at index {index} (counted from 0)"
        name = _text(path, where, image, "filename")
        where = f"the image {name!r}"
        if image.get("filepath") is not None:  # a subfolder, in Karpathy's splits of COCO
            name = f"{_text(path, where, image, 'filepath')}/{name}"
        own = _text(path, where, image, "split") if image.get("split") is not None else split
        sentences = image.get("sentences")
        if not isinstance(sentences, list):
            raise UserError(f"{path}: {where} has no list of sentences: {EXPECTED}")
        captions = tuple(_text(path, f"a sentence of {where}", sentence, "raw") for sentence in sentences)
        records.append(CaptionRecord(path, where, name, captions, own))
    return tuple(records)


def _coco_records(path: Path, images: Sequence[Any], annotations: Any, split: str | None) -> tuple[CaptionRecord, ...]:
    if not isinstance(annotations, list):
        raise UserError(f"{path}: its annotations are not a list: {EXPECTED}")
    names: dict[Any, str] = {}
    captions: dict[Any, list[str]] = {}
    for index, image in enumerate(images):
        where = f"the image at index {index} (counted from 0)"
        name, image_id = _text(path, where, image, "file_name"), _id(path, where, image, "id")
        if names.setdefault(image_id, name) != name:
            raise UserError(f"{path}: the images {names[image_id]!r} and {name!r} have the same id")
        captions[image_id] = []
    for index, item in enumerate(annotations):
        where = f"the annotation at index {index} (counted from 0)"
        image_id = _id(path, where, item, "image_id")
        if image_id not in names:
            raise UserError(f"{path}: {where} belongs to image {item['image_id']!r}, which is not in the file")
        captions[image_id].append(_text(path, where, item, "caption"))
    return tuple(
        CaptionRecord(path, f"the image {name!r}", name, tuple(captions[image_id]), split)
        for image_id, name in names.items()
    )


def _text(path: Path, where: str, item: Any, key: str) -> str:
    """The string under `key` of the object `item`."""
    value = item.get(key) if isinstance(item, dict) else None
    if isinstance(value, str):
        return value
    if value is None:
        raise UserError(f"{path}: {where} has no {key!r}: {EXPECTED}")
    raise UserError(f"{path}: the {key!r} of {where} is {str(value)[:40]!r}, not a text")


def _id(path: Path, where: str, item: Any, key: str) -> Any:
    try:
        return normalised_id(item[key])
    except (LookupError, TypeError, ValueError, ArithmeticError) as e:
        raise UserError(f"{path}: {where} has no valid {key!r} ({type(e).__name__}: {e}): {EXPECTED}") from None
