"""Synthetic images with captions, for a `contrast` run that was given no data.

The scenes are those of `python -m remoteclip_jax.scenes`, and their captions are made from their boxes. Besides whole
scenes there are the windows of a regular grid, as image files of their own: in a scene of 128 pixels, an object of a
twentieth of its side would only be six pixels large. The grid is the same for all scenes, wherever their objects lie; a
window that shows none has no caption, and is left out.
"""

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tqdm import tqdm

from remoteclip_jax.clip.caption_file import CAPTIONS_FILE, write_box_captions
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.data.transforms import Window, crop_boxes
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.scenes import generate_dataset

from .config import ContrastConfig

WINDOWS = "windows"  # folder


def grid(side: int) -> list[Window]:
    """The windows of an image in `side` rows of `side` windows."""
    return [Window(column / side, row / side, 1 / side, 1 / side) for row in range(side) for column in range(side)]


def cut(example: Example, side: int, folder: Path) -> list[Example]:
    """The windows of an image that show an object, written into `folder`. An object belongs to a window that has at
    least 30 % of its area."""
    assert isinstance(example.image, Path)  # scenes are files
    image, cells = read_image(example.image), []
    for number, window in enumerate(grid(side)):
        boxes, kept = crop_boxes(example.boxes, window)
        if not kept.any():
            continue
        left, top = round(window.x * image.width), round(window.y * image.height)
        right, bottom = round((window.x + window.w) * image.width), round((window.y + window.h) * image.height)
        path = folder / f"{example.image.stem}-{side}-{number}.jpg"
        if not path.exists():
            pixels = image.crop((left, top, right, bottom))
            write_atomically(path, partial(pixels.save, format="JPEG", quality=90))
        cells.append(Example(path, right - left, bottom - top, boxes[kept], example.labels[kept]))
    return cells


def with_windows(dataset: Dataset, side: int, folder: Path) -> Dataset:
    """`dataset` followed by the windows of a grid of `side` by `side` that show an object, which are written into
    `folder`."""
    folder.mkdir(exist_ok=True)
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        cells = pool.map(lambda example: cut(example, side, folder), dataset.examples)
        bar = tqdm(cells, f"cutting {dataset.split}", len(dataset), unit="image", disable=None)
        windows = tuple(window for of_image in bar for window in of_image)
    return dataclasses.replace(dataset, examples=(*dataset.examples, *windows))


def draw_captioned_scenes(config: ContrastConfig, data_dir: Path) -> None:
    """Draw scenes into `data_dir` (see `scenes.generate_dataset`), and write `CAPTIONS_FILE` beside them, the last of
    all. The training split has their windows, too. Images that are there already are kept.

    UserError if the folder holds other data.
    """
    counts = {"train": config.synthetic_train, "val": config.synthetic_val, "test": config.synthetic_test}
    generate_dataset(data_dir, **counts, seed=config.seed, image_size=config.synthetic_size, progress=True)
    datasets = [read_dataset(data_dir, split) for split, count in counts.items() if count]
    if config.synthetic_grid > 1:
        datasets[0] = with_windows(datasets[0], config.synthetic_grid, data_dir / WINDOWS)
    write_box_captions(datasets, data_dir, data_dir / CAPTIONS_FILE, config.seed)
