"""What reading and writing cost in prediction: python studies/bulk.py --workdir=RUN --images=FOLDER.

Images per second from files to shards of results, as `python -m remoteclip_jax.predict` makes them, against those of
the detector alone on the same images, which are already decoded and resized. Blocks of images take turns, so that what
else the machine does slows both alike.
"""

import statistics
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from absl import flags

from remoteclip_jax import errors
from remoteclip_jax.bulk.prediction import predict_rows
from remoteclip_jax.bulk.results import Results
from remoteclip_jax.bulk.sources import find_images
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.windows import image_pyramid
from remoteclip_jax.detector.inference import find_in_squares
from remoteclip_jax.detector.searching import default_batch_size
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.runtime.compilation import enable_compilation_cache
from remoteclip_jax.runtime.memory import keep_freed_memory
from remoteclip_jax.tasks.detect.request import DetectionRequest, ReadyDetector, prepare_detector

_WORKDIR = DEFINE_path("workdir", None, "a run of train.py --task=detect", required=True)
_IMAGES = DEFINE_path("images", None, "as for predict", required=True)
_BLOCK = flags.DEFINE_integer("block", 64, "images in a block")


def files_to_shards(ready: ReadyDetector, names: list[str], batch_size: int, folder: Path) -> float:
    """The seconds from files to shards of results."""
    begin = time.monotonic()
    with Results(folder, "jsonl", len(names)) as results:
        for row in predict_rows(ready, names, batch_size):
            results.append(row)
    return time.monotonic() - begin


def detector_alone(ready: ReadyDetector, names: list[str], batch_size: int) -> float:
    """The seconds of the detector on squares that lie in memory. Detections are fetched from the device."""
    squares = [image_pyramid(read_image(Path(name)), ready.detector.views) for name in names]
    batches = [squares[i : i + batch_size] for i in range(0, len(squares), batch_size)]
    stacked = [[np.stack(view) for view in zip(*batch, strict=True)] for batch in batches]
    begin = time.monotonic()
    for views in stacked:
        jax.device_get(find_in_squares(ready.detector, views, ready.prompts))
    return time.monotonic() - begin


def main() -> None:
    """Print the images per second of both for each pair of blocks, and the median of the ratios."""
    keep_freed_memory()
    enable_compilation_cache()
    ready = prepare_detector(DetectionRequest(_WORKDIR.value))
    names = find_images(_IMAGES.value, True, Notes("images"))
    batch_size, size, ratios = default_batch_size(ready.detector, len(names)), _BLOCK.value, []
    blocks = [names[i : i + size] for i in range(0, len(names) - size + 1, size)]
    detector_alone(ready, names[: 4 * batch_size], batch_size)  # compiles
    with tempfile.TemporaryDirectory() as folder:
        for number, block in enumerate(blocks):
            if number % 2:
                alone = detector_alone(ready, block, batch_size)
            whole = files_to_shards(ready, block, batch_size, Path(folder, str(number)))
            if not number % 2:
                alone = detector_alone(ready, block, batch_size)
            ratios.append(alone / whole)
            print(f"{size / whole:.2f} images/s, detector alone {size / alone:.2f}: ratio {ratios[-1]:.3f}", flush=True)
    spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    print(f"{len(ratios)} pairs of {size} images, batch size {batch_size}: ratio {spread}")


if __name__ == "__main__":
    errors.run(main)
