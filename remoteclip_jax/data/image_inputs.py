"""Images as users pass them in Python: a path, a PIL image, or an array."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.types import Bands
from remoteclip_jax.errors import UserError

ImageInput = str | os.PathLike[str] | Image.Image | Any  # Any: whatever numpy accepts as an array
ImageInputs = Sequence[ImageInput] | Any  # or an array [n, height, width, 3]
_EXPECTED = "a PIL image, a path, or an array of uint8 [height, width, 3] or [height, width]"


def as_pil_image(image: ImageInput, bands: Bands | None = None) -> Image.Image:
    """`image` as a PIL image. A path is read in RGB (see `read_image`, also for `bands`); a PIL image keeps its mode.

    UserError if it is none of these, is broken, or has no pixels.
    """
    if isinstance(image, str | os.PathLike):
        return read_image(Path(os.path.expanduser(image)), bands=bands)
    result = image if isinstance(image, Image.Image) else _from_array(image)
    if not min(result.size):
        raise UserError(f"an image of {result.width}x{result.height} pixels: there is nothing to look at")
    try:
        result.load()
    except (OSError, ValueError, SyntaxError) as e:
        name = getattr(result, "filename", "") or "an image"
        raise UserError(f"{name}: the image is broken or closed ({e})") from None
    return result


def as_pil_images(images: ImageInputs) -> list[Image.Image]:
    """Each image as from `as_pil_image`. An array may hold several images of one size. UserError for a single image."""
    if isinstance(images, str | os.PathLike | Image.Image) or (hasattr(images, "ndim") and images.ndim != 4):
        raise UserError("images: expected a list of them, such as [image]")
    try:
        items = list(images)
    except TypeError:
        raise UserError(f"images: expected a list, each {_EXPECTED}; got {type(images).__name__}") from None
    return [as_pil_image(image) for image in items]


def _from_array(array: Any) -> Image.Image:
    if not hasattr(array, "__array__"):
        raise UserError(f"an image must be {_EXPECTED}; got {type(array).__name__}")
    pixels = np.asarray(array)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise UserError(f"an image must be {_EXPECTED}; got an array of {pixels.dtype} {list(pixels.shape)}")
    return Image.fromarray(pixels)
