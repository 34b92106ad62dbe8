"""Images as users hand them over in Python: a file, a PIL image, or an array."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from remoteclip_jax.data.deep import Bands
from remoteclip_jax.data.images import read_image
from remoteclip_jax.errors import UserError

GivenImage = str | os.PathLike[str] | Image.Image | Any  # an array is whatever numpy takes for one
GivenImages = Sequence[GivenImage] | Any  # or an array [n, height, width, 3]
_EXPECTED = "a PIL image, a path, or an array of uint8 [height, width, 3] or [height, width]"


def as_image(given: GivenImage, bands: Bands | None = None) -> Image.Image:
    """`given` as a PIL image, in RGB where it is a path (see `read_image`, also for `bands`), in its own mode where it
    is an image.

    UserError where it is none of these, is broken, or has no pixels.
    """
    if isinstance(given, str | os.PathLike):
        return read_image(Path(os.path.expanduser(given)), bands=bands)
    image = given if isinstance(given, Image.Image) else _from_array(given)
    if not min(image.size):
        raise UserError(f"an image of {image.width}x{image.height} pixels: there is nothing to look at")
    try:
        image.load()
    except (OSError, ValueError, SyntaxError) as e:
        name = getattr(image, "filename", "") or "an image"
        raise UserError(f"{name}: the image is broken or closed ({e})") from None
    return image


def as_images(given: GivenImages) -> list[Image.Image]:
    """As `as_image`, of each; an array may hold several images of one size. UserError also for a single image."""
    if isinstance(given, str | os.PathLike | Image.Image) or (hasattr(given, "ndim") and given.ndim != 4):
        raise UserError("images: expected a list of them, such as [image]")
    try:
        every = list(given)
    except TypeError:
        raise UserError(f"images: expected a list, each {_EXPECTED}; got {type(given).__name__}") from None
    return [as_image(image) for image in every]


def _from_array(given: Any) -> Image.Image:
    if not hasattr(given, "__array__"):
        raise UserError(f"an image must be {_EXPECTED}; got {type(given).__name__}")
    pixels = np.asarray(given)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise UserError(f"an image must be {_EXPECTED}; got an array of {pixels.dtype} {list(pixels.shape)}")
    return Image.fromarray(pixels)
