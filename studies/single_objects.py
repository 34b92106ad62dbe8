"""Single objects of a data set as class folders: python studies/single_objects.py --data_dir=DIR --output=OUT.

From every image, up to `--each` objects of each class are cut out, as squares 1.3 times as large as the object; beyond
the image's border it is mirrored. How well a CLIP recognises them by their names is then said by

    python eval.py --workdir=RUN --task=classification --data_dir=OUT --split=test
"""

from pathlib import Path

import cv2
import numpy as np
from absl import flags
from jaxtyping import Float32, UInt8
from PIL import Image

from remoteclip_jax import errors
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.path_flags import DEFINE_path

_DATA = DEFINE_path("data_dir", None, "images and annotations", required=True)
_OUTPUT = DEFINE_path("output", None, "folder for the class folders", required=True)
_SPLIT = flags.DEFINE_string("split", "test", "the split")
_EACH = flags.DEFINE_integer("each", 3, "objects of a class in an image, at most")
MARGIN = 1.3  # the side of a square, in units of the object's longer side
SMALLEST = 16  # pixels


def main() -> None:
    """Cut out the objects that the flags name."""
    dataset, count = read_dataset(Path(_DATA.value), _SPLIT.value), 0
    for example in dataset.examples:
        assert isinstance(example.image, Path)
        pixels = np.asarray(read_image(example.image, bands=dataset.bands))
        for label in np.unique(example.labels):
            folder = Path(_OUTPUT.value) / _SPLIT.value / dataset.classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            for i in np.flatnonzero(example.labels == label)[: _EACH.value]:
                crop = Image.fromarray(square_around(pixels, example.boxes[i]))
                crop.save(folder / f"{example.image.stem}-{i}.png")
                count += 1
    print(f"{count} objects of {len(dataset)} images in {_OUTPUT.value}")


def square_around(pixels: UInt8[np.ndarray, "h w 3"], box: Float32[np.ndarray, "4"]) -> UInt8[np.ndarray, "s s 3"]:
    """The square around a box (cx, cy, w, h in [0, 1] of the image)."""
    height, width = pixels.shape[:2]
    x, y, w, h = box * np.array([width, height, width, height])
    side = round(max(MARGIN * max(w, h), SMALLEST))
    left, top = round(float(x - side / 2)), round(float(y - side / 2))
    padded = cv2.copyMakeBorder(pixels, side, side, side, side, cv2.BORDER_REFLECT)
    return padded[top + side : top + 2 * side, left + side : left + 2 * side]


if __name__ == "__main__":
    errors.run(main)
