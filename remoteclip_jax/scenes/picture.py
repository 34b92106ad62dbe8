"""One image: its scene, its boxes in pixels, its files."""

import os
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from remoteclip_jax.errors import UserError
from remoteclip_jax.scenes.compose import compose
from remoteclip_jax.scenes.deck import SPLITS, recipe
from remoteclip_jax.scenes.scene import Scene

SMALLEST, LARGEST = 64, 4096


def check_size(image_size: int) -> None:
    """Refuse sizes at which objects vanish or memory does."""
    if not SMALLEST <= image_size <= LARGEST:
        raise UserError(f"--image_size={image_size}: choose a number of pixels from {SMALLEST} to {LARGEST}")


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
    """One scene with any main class: the RGB image, its boxes (xyxy, pixels), their class names.

    Raises:
        UserError: an image size outside 64 to 4096.
    """
    check_size(image_size)
    rng = seed_or_rng if isinstance(seed_or_rng, np.random.Generator) else np.random.default_rng((seed_or_rng, 5))
    chosen = recipe(int(rng.integers(2**31)), "train", int(rng.integers(100)))
    scene = compose(chosen, rng)
    boxes, names = pixel_boxes(scene, image_size)
    return scene.render(image_size), boxes, names


def stem(split: str, index: int) -> str:
    """The file name of an image, without its ending."""
    return f"{split}_{index:05d}"


def draw_files(output: Path, seed: int, image_size: int, split: str, index: int) -> None:
    """Write `annotations/STEM.xml`, then `images/STEM.jpg`: an image that is there has its annotation."""
    name = stem(split, index)
    scene = layout(seed, split, index)
    boxes, names = pixel_boxes(scene, image_size)
    replace(output / "annotations" / f"{name}.xml", _xml(name, image_size, boxes, names).encode())
    image = output / "images" / f"{name}.jpg"
    part = _unfinished(image)
    quality = int(np.random.default_rng((seed, 6, SPLITS.index(split), index)).integers(84, 96))
    Image.fromarray(scene.render(image_size)).save(part, format="JPEG", quality=quality)
    os.replace(part, image)


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = _unfinished(path)
    part.write_bytes(content)
    os.replace(part, path)


def _unfinished(path: Path) -> Path:
    # The process's number: a worker that outlives a killed drawing must not write into its successor's file.
    return path.with_name(f"{path.name}.{os.getpid()}.part")


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
