"""Small data sets on disk, for the tests of the readers."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Object = tuple[str, float | str, float | str, float | str, float | str]


def voc(objects: Iterable[Object] = (), size: tuple[object, object] | None = (80, 60)) -> str:
    """A VOC annotation: objects are (class, xmin, ymin, xmax, ymax)."""
    parts = ["<annotation>"]
    if size is not None:
        parts.append(f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>")
    for name, *box in objects:
        sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        parts.append(
            f"<object><name>{name}</name><bndbox>{''.join(f'<{s}>{v}</{s}>' for s, v in sides)}</bndbox></object>"
        )
    return "\n".join([*parts, "</annotation>"])


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def picture(path: Path, size: tuple[int, int] = (80, 60), **options: Any) -> Path:
    """An image file in which every pixel differs from its neighbours, whichever way it is turned."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[: size[1], : size[0]]
    pixels = np.stack([x * 255 // size[0], y * 255 // size[1], (x + 2 * y) % 256], -1).astype(np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def flat(root: Path, images: Mapping[str, Iterable[Object]], splits: Mapping[str, str]) -> Path:
    """The flat layout: `images` maps names to objects, `splits` maps split names to the content of their lists."""
    for name, objects in images.items():
        picture(root / "images" / f"{name}.jpg")
        write(root / "annotations" / f"{name}.xml", voc(objects))
    for split, content in splits.items():
        write(root / "splits" / f"{split}.txt", content)
    return root


def official(root: Path) -> Path:
    """DIOR as it is distributed: its directories, spaces and all; three lists of two, one and two images."""
    oriented = (
        "<annotation><object><name>ship</name><robndbox><x_left_top>1</x_left_top></robndbox></object></annotation>"
    )
    for number in range(1, 6):
        where = "JPEGImages-trainval" if number < 4 else "JPEGImages-test"
        picture(root / where / f"0000{number}.jpg")
        content = voc([("Expressway-Service-area", 8, 6, 40, 30), ("golffield", 0, 0, 80, 60)])
        write(root / "Annotations" / "Horizontal Bounding Boxes" / f"0000{number}.xml", content)
        write(root / "Annotations" / "Oriented Bounding Boxes" / f"0000{number}.xml", oriented)
    for split, content in {"train": "00001\n00002\n", "val": "00003\n", "test": "00004\n00005\n"}.items():
        write(root / "ImageSets" / "Main" / f"{split}.txt", content)
    return root


def coco_json(**changes: Any) -> dict[str, Any]:
    """Two images, of which the second has no object; categories with gaps, not in order; one crowd, one flat box."""
    return {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 80, "height": 60},
            {"id": 9, "file_name": "sub/b.jpg", "width": 80, "height": 60},
        ],
        "categories": [{"id": 30, "name": "ship"}, {"id": 4, "name": "storage tank"}, {"id": 11, "name": "airport"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 30, "bbox": [8, 6, 16, 12], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 4, "bbox": [40, 30, 80, 60]},
            {"id": 3, "image_id": 7, "category_id": 11, "bbox": [1, 1, 9, 9], "iscrowd": 1},
            {"id": 4, "image_id": 7, "category_id": 11, "bbox": [5, 5, 0, 9]},
        ],
        **changes,
    }


def coco(root: Path, content: Any, split: str = "train", images: str = "train") -> Path:
    picture(root / images / "a.jpg")
    picture(root / images / "sub" / "b.jpg")
    write(
        root / "annotations" / f"instances_{split}.json", content if isinstance(content, str) else json.dumps(content)
    )
    return root
