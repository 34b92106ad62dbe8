"""What searching by windows costs and loses: python studies/large_images.py --workdir=RUN --data_dir=DIR --split=val.

A mosaic of the split's images, all of one size and each twice, once shifted so that its objects lie across the borders
of windows, is searched as one GeoTIFF. Its AP50 is compared with that of the images one by one, its windows/s with the
images/s of the predictor alone and of searching files, in alternating blocks. With --memory, the command's peak memory
for GeoTIFFs of 6,000 and of 20,000 pixels a side is measured too.
"""

import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import rasterio
from absl import flags
from PIL import Image
from rasterio.transform import Affine

from remoteclip_jax import Detections, TrainedDetector, UserError, errors, load_detector
from remoteclip_jax.clip.text_embeddings import TextEmbeddings
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.data.tiling import window_count
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.data.windows import image_pyramid
from remoteclip_jax.detector.inference import encode_prompts, find_in_squares
from remoteclip_jax.detector.searching import default_batch_size, find_in_images
from remoteclip_jax.evaluation.detection import evaluate_detections
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.runtime.compilation import enable_compilation_cache
from remoteclip_jax.runtime.memory import keep_freed_memory

_WORKDIR = DEFINE_path("workdir", None, "a run of train.py --task=detect", required=True)
_DATA_DIR = DEFINE_path("data_dir", None, "images of one size, with boxes", required=True)
_SPLIT = flags.DEFINE_string("split", "val", "the split to make the mosaic from")
_ROUNDS = flags.DEFINE_integer("rounds", 4, "blocks of each kind whose speed is measured")
_MEMORY = flags.DEFINE_bool("memory", False, "measure the peak memory for 6,000 and 20,000 pixels a side")
COLUMNS = 10
THRESHOLD = 0.01


def mosaic(dataset: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels, and the corners and labels of all objects. In its lower half, each row of images is shifted by
    another part of an image, and begins with what it lost at its end."""
    side = dataset.examples[0].width
    rows = -(-len(dataset) // COLUMNS)
    canvas = np.zeros((2 * rows * side, COLUMNS * side, 3), np.uint8)
    corners, labels = [np.zeros((0, 4))], [np.zeros(0, np.int32)]
    for i, example in enumerate(dataset.examples * 2):
        number, again = i % len(dataset), i >= len(dataset)
        row, column = number // COLUMNS + again * rows, number % COLUMNS
        shift = again * (side // 4 + side // 8 * (row - rows))
        boxes = example.boxes * side
        boxes = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
        pixels = np.asarray(read_image(example.image, bands=dataset.bands))
        for left in ((column * side + shift) % canvas.shape[1] - wrapped for wrapped in (0, canvas.shape[1])):
            first, last = max(0, left), min(canvas.shape[1], left + side)
            if first < last:
                canvas[row * side : (row + 1) * side, first:last] = pixels[:, first - left : last - left]
                placed = boxes + np.array([left, row * side] * 2)
                whole = np.minimum(placed[:, 2], last) - np.maximum(placed[:, 0], first)
                keep = whole > 0.5 * (placed[:, 2] - placed[:, 0])
                corners.append(np.clip(placed[keep], 0, [*canvas.shape[1::-1]] * 2))
                labels.append(example.labels[keep])
    return canvas, np.concatenate(corners), np.concatenate(labels)


def write_geotiff(path: Path, pixels: np.ndarray, side: int) -> None:
    """`side`² pixels, filled with copies of `pixels`."""
    place = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
    options: dict[str, Any] = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    with rasterio.open(
        path,
        "w",
        "GTiff",
        side,
        side,
        3,
        crs="EPSG:32633",
        transform=place,
        dtype="uint8",
        photometric="rgb",
        **options,
    ) as file:
        for top in range(0, side, len(pixels)):
            for left in range(0, side, pixels.shape[1]):
                part = pixels[: side - top, : side - left].transpose(2, 0, 1)
                file.write(part, window=((top, top + part.shape[1]), (left, left + part.shape[2])))


def search(detector: TrainedDetector, texts: TextEmbeddings, images: Sequence[Path]) -> list[Detections]:
    """What is found in each of the images."""
    batch_size = default_batch_size(detector, 2)
    found = []
    for image in find_in_images(detector, texts, images, notes=Notes("images"), batch_size=batch_size):
        if isinstance(image, UserError):
            raise image
        found.append(image.detections.above(THRESHOLD))
    return found


def measure_accuracy(
    detector: TrainedDetector, texts: TextEmbeddings, dataset: Dataset, path: Path, truth: tuple[np.ndarray, np.ndarray]
) -> None:
    """Print the AP50 of the images one by one and of the mosaic."""
    (corners, labels), side = truth, Image.open(path).width
    boxes = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1) / side
    example = Example(path, side, side, boxes.astype(np.float32), labels)
    for name, data in (
        ("one by one", dataset),
        ("mosaic", dataclasses.replace(dataset, examples=(example,), bands=None)),
    ):
        figures = evaluate_detections(data, search(detector, texts, [e.image for e in data.examples]))
        print(f"{name}: AP50 {100 * figures['map_50_all']:.2f} %, AP {100 * figures['map_all']:.2f} %")


def measure_speed(detector: TrainedDetector, texts: TextEmbeddings, dataset: Dataset, path: Path) -> None:
    """Print windows/s of the mosaic beside images/s of files and of the predictor alone."""
    files = [example.image for example in dataset.examples]
    size = default_batch_size(detector, 2)
    squares = [image_pyramid(read_image(file, bands=dataset.bands), detector.views) for file in files]
    batches = [
        [np.stack(view) for view in zip(*squares[i : i + size], strict=True)]
        for i in range(0, len(files) // size * size, size)
    ]

    def predict() -> int:
        results = [find_in_squares(detector, batch, texts) for batch in batches]
        jax.block_until_ready(results)
        return size * len(batches)

    with Image.open(path) as image:
        windows = window_count(*image.size, detector.window)
    kinds = {
        "predictor alone": predict,
        "files": lambda: len(search(detector, texts, files)),
        "mosaic": lambda: len(search(detector, texts, [path])) * windows,
    }
    rates: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(_ROUNDS.value + 1):
        for name, run in kinds.items():
            begin = time.monotonic()
            rates[name].append(run() / (time.monotonic() - begin))
    for name, measured in rates.items():
        shares = np.array(measured[1:]) / np.array(rates["predictor alone"][1:])
        spread = f"{np.median(shares):.3f} of the predictor ({shares.min():.3f} to {shares.max():.3f})"
        print(f"{name}: {np.median(measured[1:]):.2f}/s, {spread}")


# What a process inherits from the one that starts it counts in `resource.getrusage`, but not here.
MEASURED = """
import runpy, sys
try:
    runpy.run_module("remoteclip_jax.detect", run_name="__main__")
finally:
    status = open("/proc/self/status").read()
    print("peak", status.split("VmHWM:")[1].split()[0])
"""


def peak_megabytes(path: Path, folder: Path) -> float:
    """The peak memory of the command for one image. It is that of Linux."""
    arguments = [f"--workdir={_WORKDIR.value}", f"--image={path}", f"--output={folder / path.stem}"]
    command = [sys.executable, "-c", MEASURED, *arguments]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(text.split("peak ")[1]) / 1024


def main() -> None:
    """Make the mosaic, measure, and print."""
    keep_freed_memory()
    enable_compilation_cache()
    detector = load_detector(_WORKDIR.value)
    dataset = read_dataset(Path(_DATA_DIR.value), _SPLIT.value, classes=detector.classes)
    pixels, *truth = mosaic(dataset)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mosaic.tif")
        write_geotiff(path, pixels, len(pixels))
        if _MEMORY.value:
            for side in (6_000, 20_000):
                scene = Path(folder, f"{side}.tif")
                write_geotiff(scene, pixels, side)
                print(f"{side} pixels a side: peak memory {peak_megabytes(scene, Path(folder)):.0f} MB")
        names = [detector.classes[i] for i in np.unique(truth[1])]
        texts = encode_prompts(detector, names)
        classes = tuple(names)
        dataset = read_dataset(Path(_DATA_DIR.value), _SPLIT.value, classes=classes)
        labels = np.array([names.index(detector.classes[i]) for i in truth[1]], np.int32)
        measure_accuracy(detector, texts, dataset, path, (truth[0], labels))
        measure_speed(detector, texts, dataset, path)


if __name__ == "__main__":
    errors.run(main)
