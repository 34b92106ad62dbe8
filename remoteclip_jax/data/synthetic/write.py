"""Drawing a data set into the flat layout: `images/`, `annotations/`, `splits/`, and the settings in `synthetic.json`."""

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import starmap
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image
from tqdm import tqdm

from remoteclip_jax.data.synthetic.deck import SPLITS, Recipe, recipe
from remoteclip_jax.data.synthetic.scene import Scene, compose
from remoteclip_jax.errors import UserError

VERSION = 1  # of the drawing: raise it when the same seed gives other pictures
SMALLEST, LARGEST = 64, 4096


def layout(seed: int, split: str, index: int) -> Scene:
    """The scene of image `index` of a split: all its geometry, no pixels yet."""
    rng = np.random.default_rng((seed, 4, SPLITS.index(split), index))
    return compose(recipe(seed, split, index), rng)


def pixel_boxes(scene: Scene, image_size: int) -> tuple[Float64[np.ndarray, "n 4"], list[str]]:
    """Boxes xyxy in whole pixels, each at least one pixel wide and high, inside the image; and their class names."""
    boxes, names = scene.boxes()
    low = np.clip(np.round(boxes[:, :2] * image_size), 0, image_size - 1)
    high = np.clip(np.round(boxes[:, 2:] * image_size), low + 1, image_size)
    return np.concatenate([low, high], 1), names


def draw_scene(
    seed_or_rng: int | np.random.Generator, image_size: int = 800
) -> tuple[UInt8[np.ndarray, "h w 3"], Float64[np.ndarray, "n 4"], list[str]]:
    """One scene with any main class: the RGB image, its boxes (xyxy, pixels), their class names."""
    _check_size(image_size)
    rng = seed_or_rng if isinstance(seed_or_rng, np.random.Generator) else np.random.default_rng((seed_or_rng, 5))
    chosen: Recipe = recipe(int(rng.integers(2**31)), "train", int(rng.integers(100)))
    scene = compose(chosen, rng)
    boxes, names = pixel_boxes(scene, image_size)
    return scene.render(image_size), boxes, names


def _check_size(image_size: int) -> None:
    if not SMALLEST <= image_size <= LARGEST:
        raise UserError(f"--image_size={image_size}: choose a number of pixels from {SMALLEST} to {LARGEST}")


def _xml(name: str, size: int, boxes: np.ndarray, names: list[str]) -> str:
    # VOC counts pixels from 1: a box that begins at the left border has xmin 1.
    objects = "".join(
        f"\t<object>\n\t\t<name>{escape(label)}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<bndbox>\n"
        f"\t\t\t<xmin>{max(1, int(x1))}</xmin>\n\t\t\t<ymin>{max(1, int(y1))}</ymin>\n"
        f"\t\t\t<xmax>{max(2, int(x2))}</xmax>\n\t\t\t<ymax>{max(2, int(y2))}</ymax>\n\t\t</bndbox>\n\t</object>\n"
        for (x1, y1, x2, y2), label in zip(boxes, names, strict=True)
    )
    return (
        f"<annotation>\n\t<filename>{name}.jpg</filename>\n\t<source>\n\t\t<database>synthetic</database>\n\t</source>\n"
        f"\t<size>\n\t\t<width>{size}</width>\n\t\t<height>{size}</height>\n\t\t<depth>3</depth>\n\t</size>\n"
        f"\t<segmented>0</segmented>\n{objects}</annotation>\n"
    )


def stem(split: str, index: int) -> str:
    """The file name of an image, without its ending."""
    return f"{split}_{index:05d}"


def _draw_one(output: Path, seed: int, image_size: int, split: str, index: int) -> None:
    name = stem(split, index)
    image, annotation = output / "images" / f"{name}.jpg", output / "annotations" / f"{name}.xml"
    if image.exists():  # written last, and under another name until it was whole
        return
    scene = layout(seed, split, index)
    boxes, names = pixel_boxes(scene, image_size)
    annotation.write_text(_xml(name, image_size, boxes, names), encoding="utf-8")
    part = image.with_suffix(".jpg.part")
    quality = int(np.random.default_rng((seed, 6, SPLITS.index(split), index)).integers(84, 96))
    Image.fromarray(scene.render(image_size)).save(part, format="JPEG", quality=quality)
    os.replace(part, image)


def _draw_task(output: Path, seed: int, image_size: int, task: tuple[str, int]) -> None:
    _draw_one(output, seed, image_size, *task)


def _claim(output: Path, settings: dict[str, int]) -> None:
    """Make the folder ours, or refuse one that holds something else."""
    note = output / "synthetic.json"
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; --output takes a folder")
    if note.is_file():
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != settings:
            raise UserError(f"{output}: holds a drawing with other settings ({found}); choose another --output or remove it")
    elif output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output}: is not empty and holds no synthetic data; choose another --output")
    for folder in ("images", "annotations", "splits"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    _write(note, json.dumps(settings, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def _workers(tasks: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, tasks // 8))  # a process costs about as much to start as a few images to draw


def draw_dataset(
    output: Path, train: int, val: int, test: int, seed: int, image_size: int = 800, progress: bool = False,
    workers: int | None = None,
) -> None:
    """Draw `train` + `val` + `test` images of `image_size` pixels a side with their annotations into `output`.

    Image i of a split depends only on (seed, split, i) and the size, whatever the number of `workers` (default: one a
    core). Started again with the same settings it completes what is missing; the split lists are written at the end.

    Raises:
        UserError: bad counts or size, or a folder that holds something else.
    """
    counts = {"train": train, "val": val, "test": test}
    for split, n in counts.items():
        if n < 0:
            raise UserError(f"--{split}={n}: a number of images cannot be negative")
    if not any(counts.values()):
        raise UserError("--train, --val and --test are all 0: nothing to draw")
    if seed < 0:
        raise UserError(f"--seed={seed}: choose 0 or a positive number")
    _check_size(image_size)
    output = Path(output)
    _claim(output, {"version": VERSION, **counts, "seed": seed, "image_size": image_size})
    if all((output / "splits" / f"{split}.txt").is_file() for split in counts):
        return
    have = {p.name for p in (output / "images").iterdir()}
    tasks = [(split, i) for split in counts for i in range(counts[split]) if f"{stem(split, i)}.jpg" not in have]
    draw = partial(_draw_task, output, seed, image_size)
    n = _workers(len(tasks)) if workers is None else workers
    with tqdm(total=len(tasks), desc="drawing", unit="image", disable=not progress) as bar:
        if n <= 1:
            for task in tasks:
                draw(task)
                bar.update()
        else:
            # Spawned, not forked: the caller may have threads (JAX does), and a fork of those can hang.
            with ProcessPoolExecutor(n, mp_context=multiprocessing.get_context("spawn")) as pool:
                for _ in pool.map(draw, tasks, chunksize=4):
                    bar.update()
    for split, count in counts.items():
        names = starmap(stem, ((split, i) for i in range(count)))
        _write(output / "splits" / f"{split}.txt", "".join(f"{name}\n" for name in names))
