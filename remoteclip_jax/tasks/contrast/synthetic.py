"""Synthetic images with captions, for a `contrast` run that was given no data.

The scenes are those of `python -m remoteclip_jax.scenes`, and their captions are made from their boxes. Besides the whole
scenes there are the windows of regular grids, as image files of their own: a tower of 128 pixels would else see an object
of a twentieth of the scene only in six of them. The grids are the same for all scenes, wherever their objects lie.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.data.transforms import Window, crop_boxes
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.scenes import generate_dataset

from .config import ContrastConfig

CAPTIONS_FILE = "captions.json"
WINDOWS = "windows"  # folder


def grid(side: int) -> list[Window]:
    """The windows of an image in `side` rows of `side` windows."""
    return [Window(column / side, row / side, 1 / side, 1 / side) for row in range(side) for column in range(side)]


def cut(example: Example, side: int, folder: Path) -> list[Example]:
    """The windows of an image that show an object, written into `folder`. An object belongs to a window that has at
    least 30 % of its area."""
    image, cells = read_image(example.image), []
    for number, window in enumerate(grid(side)):
        boxes, kept = crop_boxes(example.boxes, window)
        if not kept.any():
            continue
        left, top = round(window.x * image.width), round(window.y * image.height)
        right, bottom = round((window.x + window.w) * image.width), round((window.y + window.h) * image.height)
        path = folder / f"{example.image.stem}-{side}-{number}.jpg"
        if not path.exists():
            image.crop((left, top, right, bottom)).save(path, quality=90)
        cells.append(Example(path, right - left, bottom - top, boxes[kept], example.labels[kept]))
    return cells
