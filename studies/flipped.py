"""The AP of a detector on a split and on its mirror images: python studies/flipped.py --workdir=RUN --split=val.

An aerial image has no left and right, so the two figures should be almost equal.
"""

import dataclasses
import tempfile
from pathlib import Path

import jax.numpy as jnp
from absl import flags
from PIL import ImageOps

from remoteclip_jax import errors, load_detector
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.data.transforms import flip_boxes
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.evaluation.detection import evaluate_detections, table
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runtime.devices import AXIS
from remoteclip_jax.tasks.configuration import load_config
from remoteclip_jax.tasks.detect.prediction import make_predictor

_WORKDIR = DEFINE_path("workdir", None, "a run of train.py --task=detect", required=True)
_SPLIT = flags.DEFINE_string("split", "test", "the split of the run's own data")


def mirrored(dataset: Dataset, folder: Path) -> Dataset:
    """`dataset` mirrored left to right. Its images are written into `folder` as PNG files."""
    examples = []
    for i, example in enumerate(dataset.examples):
        path = folder / f"{i}.png"
        ImageOps.mirror(read_image(example.image, bands=dataset.bands)).save(path, compress_level=1)
        examples.append(dataclasses.replace(example, image=path, boxes=flip_boxes(example.boxes)))
    return dataclasses.replace(dataset, examples=tuple(examples), bands=None)


def main() -> None:
    """Print the figures of the split and of its mirror images."""
    run = RunDirectory(Path(_WORKDIR.value))
    detector, config = load_detector(run.root), load_config(run.config)
    data_dir = Path(config.data_dir) if config.data_dir else run.data
    dataset = read_dataset(data_dir, _SPLIT.value, config.dataset_format, detector.classes, config.bands)
    predict = make_predictor(
        Detector(detector.clip, detector.config, jnp.dtype(detector.dtype), AXIS),
        jnp.asarray(detector.embeddings),
        detector.classes,
        batch_size=config.batch_size,
        views=detector.views,
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (("as it is", dataset), ("mirrored", mirrored(dataset, Path(folder)))):
            figures = evaluate_detections(data, predict(detector.variables, data))
            print(f"{_SPLIT.value} {name}: {table(figures).splitlines()[0]}")


if __name__ == "__main__":
    errors.run(main)
