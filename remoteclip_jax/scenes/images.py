"""One synthetic image: its scene, its boxes in pixels and its files."""

import os
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from remoteclip_jax.errors import UserError
from remoteclip_jax.scenes.compose import compose_scene
from remoteclip_jax.scenes.recipes import SPLITS, image_recipe
from remoteclip_jax.scenes.scene import Scene

MIN_IMAGE_SIZE, MAX_IMAGE_SIZE = 64, 4096


def check_image_size(image_size: int) -> None:
    """Raise UserError for sizes at which objects would vanish or memory run out."""
    if not MIN_IMAGE_SIZE <= image_size <= MAX_IMAGE_SIZE:
        raise UserError(
            f"--image_size={image_size}: choose a number of pixels from {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE}"
        )


def generate_scene(seed: int, split: str, index: int) -> Scene:
    """The scene of image `index` of a split: its geometry, without pixels."""
    rng = np.random.default_rng((seed, 4, SPLITS.index(split), index))
    return compose_scene(image_recipe(seed, split, index), rng)


def pixel_boxes(scene: Scene, image_size: int) -> tuple[Float64[np.ndarray, "n 4"], list[str]]:
    """Boxes xyxy in whole pixels, inside the image and at least one pixel wide and high; and their class names."""
    boxes, names = scene.visible_boxes()
    low = np.clip(np.round(boxes[:, :2] * image_size), 0, image_size - 1)
    high = np.clip(np.round(boxes[:, 2:] * image_size), low + 1, image_size)
    return np.concatenate([low, high], 1), names


def render_scene(
    seed_or_rng: int | np.random.Generator, image_size: int = 800
) -> tuple[UInt8[np.ndarray, "h w 3"], Float64[np.ndarray, "n 4"], list[str]]:
    """A random scene: the RGB image, its boxes (xyxy, in whole pixels) and their class names.

    Raises:
        UserError: an image size outside 64 to 4096.
    """
    check_image_size(image_size)
    rng = seed_or_rng if isinstance(seed_or_rng, np.random.Generator) else np.random.default_rng((seed_or_rng, 5))
    recipe = image_recipe(int(rng.integers(2**31)), "train", int(rng.integers(100)))
    scene = compose_scene(recipe, rng)
    boxes, names = pixel_boxes(scene, image_size)
    return scene.render(image_size), boxes, names


def file_stem(split: str, index: int) -> str:
    """The file name of an image, without its extension."""
    return f"{split}_{index:05d}"


def write_image_and_annotation(output: Path, seed: int, image_size: int, split: str, index: int) -> None:
    """Write `annotations/STEM.xml`, then `images/STEM.jpg`, so that every existing image has its annotation."""
    stem = file_stem(split, index)
    scene = generate_scene(seed, split, index)
    boxes, names = pixel_boxes(scene, image_size)
    write_atomically(output / "annotations" / f"{stem}.xml", _voc_xml(stem, image_size, boxes, names).encode())
    image = output / "images" / f"{stem}.jpg"
    partial = _partial_path(image)
    quality = int(np.random.default_rng((seed, 6, SPLITS.index(split), index)).integers(84, 96))
    Image.fromarray(scene.render(image_size)).save(partial, format="JPEG", quality=quality)
    os.replace(partial, image)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file completely or not at all."""
    partial = _partial_path(path)
    partial.write_bytes(content)
    os.replace(partial, path)


def _partial_path(path: Path) -> Path:
    # With the process id: a worker that outlives a killed command must not write into the file of its successor.
    return path.with_name(f"{path.name}.{os.getpid()}.part")


def _voc_xml(stem: str, size: int, boxes: np.ndarray, names: list[str]) -> str:
    # Pascal VOC counts pixels from 1, so a box at the left border has xmin 1.
    objects = "".join(
        f"\t<object>\n\t\t<name>{escape(name)}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<bndbox>\n"
        f"\t\t\t<xmin>{max(1, int(x1))}</xmin>\n\t\t\t<ymin>{max(1, int(y1))}</ymin>\n"
        f"\t\t\t<xmax>{max(2, int(x2))}</xmax>\n\t\t\t<ymax>{max(2, int(y2))}</ymax>\n\t\t</bndbox>\n\t</object>\n"
        for (x1, y1, x2, y2), name in zip(boxes, names, strict=True)
    )
    return (
        f"<annotation>\n\t<filename>{stem}.jpg</filename>\n\t<source>\n\t\t<database>synthetic</database>\n\t</source>\n"
        f"\t<size>\n\t\t<width>{size}</width>\n\t\t<height>{size}</height>\n\t\t<depth>3</depth>\n\t</size>\n"
        f"\t<segmented>0</segmented>\n{objects}</annotation>\n"
    )
