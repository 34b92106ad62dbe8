"""Small caption files, in the formats that users have."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.data.sample_datasets import write_image, write_json


def rsicd_image(filename: Any, *captions: Any, split: Any = "train", **more: Any) -> dict[str, Any]:
    """One image in RSICD's layout, with the keys that the file really has."""
    sentences = [{"tokens": str(text).split(), "raw": text, "imgid": 0, "sentid": i} for i, text in enumerate(captions)]
    return {"filename": filename, "imgid": 0, "sentences": sentences, "split": split, "sentids": [0], **more}


def write_rsicd(root: Path, *images: dict[str, Any], folder: str = "RSICD_images") -> Path:
    """RSICD's JSON, and its images."""
    for image in images:
        write_image(root / folder / image["filename"])
    return write_json(root / "dataset_rsicd.json", {"dataset": "rsicd", "images": images})


def coco_captions(**change: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 9, "file_name": "b.jpg"}, {"id": 7, "file_name": "a.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 7, "caption": "A ship."},
            {"id": 2, "image_id": 9, "caption": "A dam."},
            {"id": 3, "image_id": 7, "caption": "One ship at sea. "},
        ],
    } | change


def image_bytes(number: int = 0) -> bytes:
    """A JPEG, different for each number: its width is 40 pixels more than that."""
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (40, 40 + number, 3), np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes | str] | Sequence[tuple[str, bytes | str]]) -> Path:
    """A tar archive with these members, in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items() if isinstance(members, Mapping) else members:
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_shard(path: Path, *captions: str, first: int = 0) -> Path:
    """A shard with one sample for each caption, as WebDataset writes it."""
    members: dict[str, bytes | str] = {}
    for i, caption in enumerate(captions, first):
        members[f"{i:06}.jpg"] = image_bytes(i)
        members[f"{i:06}.txt"] = caption
    return write_tar(path, members)


def pairs(dataset: Any) -> dict[str, tuple[str, ...]]:
    """The captions by the names of the images."""
    return {getattr(e.image, "member", e.image.name): e.captions for e in dataset.examples}
