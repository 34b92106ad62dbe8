"""Preprocessing for CLIP's image tower: open_clip's evaluation transform, without torch.

Pillow resizes and crops the decoded image on the host, to uint8. `normalise` is a separate step so that it can run on
the device: a batch of bytes is transferred four times faster than a batch of floats.
"""

from collections.abc import Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

Array = TypeVar("Array", np.ndarray, jax.Array)

# CLIP's own statistics (Radford et al. 2021), not ImageNet's: their standard deviations differ by up to 0.05.
MEAN: Float32[np.ndarray, "3"] = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD: Float32[np.ndarray, "3"] = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)

# The normalised value of each byte, one channel after the other. A table, because XLA would multiply by a reciprocal
# where torch divides, and a deep network with batch statistics makes that last bit visible in its loss.
_BYTES = np.arange(256, dtype=np.float32)[:, None]
_TABLE = ((_BYTES / np.float32(255) - MEAN) / STD).T.reshape(-1)
_CHANNEL_OFFSETS = 256 * np.arange(3, dtype=np.int32)


def resize_and_crop(image: Image.Image, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The centre square of `image` at `size` pixels, RGB.

    Pillow's bicubic filter brings the shorter side to `size`; when it shrinks an image it averages over its support, so
    that there is no aliasing. The longer side is scaled alike and cropped in the middle. Bit for bit the same as
    torchvision's ``Resize(size, BICUBIC)`` and ``CenterCrop(size)`` on a Pillow image. ValueError for an image without
    pixels.
    """
    width, height = image.size
    if width == 0 or height == 0:
        raise ValueError(f"an image of {width}x{height} pixels has no content")
    # torchvision truncates the longer side; it does not round.
    resized = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    if resized != image.size:
        image = image.resize(resized, Image.Resampling.BICUBIC)
    left, top = round((resized[0] - size) / 2), round((resized[1] - size) / 2)
    image = image.crop((left, top, left + size, top + size))
    # Converted last, as in open_clip: a palette image is resized by nearest colours, and an alpha channel is dropped.
    return np.array(image.convert("RGB"))


def normalise(images: UInt8[Array, "*batch height width 3"]) -> Float32[Array, "*batch height width 3"]:
    """``(images / 255 - MEAN) / STD`` in float32, for NumPy arrays and under `jax.jit`.

    Bit for bit the same as torchvision's ToTensor and Normalize.
    """
    index = images.astype(np.int32) + _CHANNEL_OFFSETS.reshape((1,) * (images.ndim - 1) + (3,))
    return _TABLE[index] if isinstance(images, np.ndarray) else jnp.take(_TABLE, index, mode="clip")


def preprocess(images: Sequence[Image.Image], size: int) -> Float32[np.ndarray, "n {size} {size} 3"]:
    """An NHWC batch for the image tower; each image as ``open_clip.image_transform(size, is_train=False)`` gives it."""
    if not images:
        return np.zeros((0, size, size, 3), np.float32)
    return normalise(np.stack([resize_and_crop(image, size) for image in images]))
