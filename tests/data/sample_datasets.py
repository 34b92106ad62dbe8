"""Small data sets on disk, in the layouts that users have."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Box = tuple[str, float, float, float, float]  # class, xmin, ymin, xmax, ymax

SIZE = 40
SHIP: Box = ("ship", 4, 8, 20, 28)


def write_image(path: Path, colour: tuple[int, int, int] = (90, 120, 60), size: tuple[int, int] = (SIZE, SIZE)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def write_noise(path: Path, side: int, seed: int = 0) -> Path:
    """An image that compresses badly, so that truncating the file loses pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)).save(path)
    return path


def truncate(path: Path, share: float = 0.5) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def voc_xml(boxes: Sequence[Box] = (SHIP,), size: tuple[Any, Any] | None = (SIZE, SIZE)) -> str:
    stated = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        "</bndbox></object>"
        for name, x1, y1, x2, y2 in boxes
    )
    return f"<annotation>{stated}{objects}</annotation>"


def write_voc(path: Path, boxes: Sequence[Box] = (SHIP,), size: tuple[Any, Any] | None = (SIZE, SIZE)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(voc_xml(boxes, size))
    return path


def write_lines(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def write_flat(root: Path, *stems: str, split: str = "train") -> Path:
    """DIOR's flat layout, with a ship in each image."""
    for stem in stems:
        write_image(root / f"images/{stem}.jpg")
        write_voc(root / f"annotations/{stem}.xml")
    write_lines(root / f"splits/{split}.txt", *stems)
    return root


def write_official(root: Path) -> Path:
    """DIOR's official layout: 00001 and 00002 to train on, 00003 to validate, 11726 and 11727 to test."""
    splits = {"train": ["00001", "00002"], "val": ["00003"], "test": ["11726", "11727"]}
    splits["trainval"] = splits["train"] + splits["val"]
    for split, stems in splits.items():
        write_lines(root / f"ImageSets/Main/{split}.txt", *stems)
        for stem in stems:
            write_image(root / f"JPEGImages-{'test' if split == 'test' else 'trainval'}/{stem}.jpg")
            write_voc(root / f"Annotations/Horizontal Bounding Boxes/{stem}.xml")
            corners = "".join(f"<{c}>1</{c}>" for c in ("x_left_top", "y_left_top", "x_right_top", "y_right_top"))
            oriented = root / f"Annotations/Oriented Bounding Boxes/{stem}.xml"
            oriented.parent.mkdir(exist_ok=True)
            oriented.write_text(
                f"<annotation><object><name>ship</name><robndbox>{corners}</robndbox></object></annotation>"
            )
    return root


def coco_content(**change: Any) -> dict[str, Any]:
    """COCO annotations with category ids out of order and with gaps. a.jpg has a ship and a dam, b.jpg nothing."""
    content: dict[str, Any] = {
        "images": [
            {"id": 70, "file_name": "b.jpg", "width": SIZE, "height": SIZE},
            {"id": 7, "file_name": "a.jpg", "width": SIZE, "height": SIZE},
        ],
        "categories": [{"id": 90, "name": "Dam"}, {"id": 3, "name": "ship"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "bbox": [0, 0, 10, 20], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [4, 8, 16, 20], "area": 320},
        ],
    }
    return content | change


def write_coco(root: Path, content: Any, split: str = "train", images: str = "train") -> Path:
    """`content` as the JSON of the split, with images a.jpg and b.jpg."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (root / f"annotations/instances_{split}.json").write_text(text)
    for name in ("a.jpg", "b.jpg"):
        write_image(root / images / name)
    return root


def write_class_folders(root: Path, split: str, **counts: int) -> Path:
    """Class folders with the given numbers of images."""
    for name, count in counts.items():
        (root / split / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            write_image(root / split / name / f"{name}_{i}.jpg")
    return root


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path
