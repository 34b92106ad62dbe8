"""Image files in, RGB out: whatever the file's own mode, depth, bands and orientation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import ExifTags, Image

from remoteclip_jax.data.deep import Bands, Deep, deep_header, deep_tiff, read_deep
from remoteclip_jax.data.image_files import EXTENSIONS, MAX_PIXELS, open_file, open_with_pillow
from remoteclip_jax.data.stretch import to_eight_bits
from remoteclip_jax.errors import UserError

__all__ = ["EXTENSIONS", "MAX_PIXELS", "Header", "image_size", "read_header", "read_image", "to_rgb"]

# How an image is turned upright, by EXIF orientation (CIPA DC-008); the last four exchange width and height.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Bands to choose from, by Pillow's mode; of the fourth it may think that it is transparency. All others are grey.
_BANDS = {"RGB": 3, "P": 3, "PA": 3, "CMYK": 3, "YCbCr": 3, "LAB": 3, "HSV": 3, "RGBX": 4, "RGBA": 4, "RGBa": 4}
_DEEP_MODES = {"I;16": "uint16", "I;16B": "uint16", "I;16L": "uint16", "I;16N": "uint16", "I": "int32", "F": "float32"}


@dataclass(frozen=True)
class Header:
    """What the header of an image file tells: its `size` (width, height) in pixels as `read_image` will give it, the
    EXIF `orientation` (1 to 8; 1 is upright) that it is turned by to that end, how many `bands` it has to choose from,
    and the type of its values where they are `deep`, of more than eight bits."""

    size: tuple[int, int]
    orientation: int
    bands: int
    deep: str | None = None


def read_header(path: Path, bands: Bands | None = None) -> Header:
    """UserError as from `read_image`; the pixels are not looked at."""
    with _open(path, bands) as (image, deep, _):
        return _header(image, deep)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as `read_image` will give them, from the header alone. UserError as there."""
    return read_header(path).size


def read_image(path: Path, at_least: int | None = None, bands: Bands | None = None) -> Image.Image:
    """The image as RGB, turned upright as its EXIF orientation says.

    What is deeper than eight bits is scaled or stretched (see `data.stretch`); of more bands than three the first three
    are taken, or those that `bands` names, counted from 1: red, green and blue, or one for grey. CMYK and palettes are
    converted, transparency is dropped. With `at_least`, a JPEG is decoded at a reduced size whose shorter side is no
    shorter than that: several times faster, for training. UserError, naming the file, where it is missing, broken, of
    more than `MAX_PIXELS`, without one of the bands, or no image.
    """
    with _open(path, bands) as (image, deep, file):
        try:
            if deep is not None:
                rgb, orientation = _read_deep(file, deep, bands), deep.orientation
            else:
                rgb, orientation = _read_plain(path, image, at_least, bands), _orientation(image)
        except (UserError, MemoryError):
            raise
        except Exception as e:  # decoders let through whatever a damaged file makes them stumble over
            raise UserError(f"{path}: the image is broken ({e}; copy or download it again)") from None
    return rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb


@contextmanager
def _open(path: Path, bands: Bands | None) -> Iterator[tuple[Any, Deep | None, BinaryIO]]:
    """The file as Pillow sees it, unless Pillow cannot; its header, where something else shall read it; and itself."""
    with open_file(path) as file:
        deep = deep_tiff(path, file, bands)
        image = open_with_pillow(path, file) if deep is None else None
        if image is not None:
            deep = deep_header(image, file)
        header = _header(image, deep)
        if bands is not None and 1 < header.bands < max(bands):
            raise UserError(f"{path}: has {header.bands} bands; --bands={','.join(map(str, bands))} asks for others")
        yield image, deep, file


def _header(image: Any, deep: Deep | None) -> Header:
    """Of what `_open` found."""
    if deep is None:
        turn = _orientation(image)
        size = image.size[::-1] if turn >= 5 else image.size
        bands = _BANDS.get(image.mode, 1)
        if image.format == "TIFF":
            turn = _known(image.tag_v2.get(ExifTags.Base.Orientation))  # Pillow turns it itself
            bands = max(bands, image.tag_v2.get(ExifTags.Base.SamplesPerPixel, 1)) if bands > 1 else 1
        return Header(size, turn, bands, _DEEP_MODES.get(image.mode))
    size = deep.width, deep.height
    kind = deep.dtype.name if deep.dtype.itemsize > 1 else None
    return Header(size[::-1] if deep.orientation >= 5 else size, deep.orientation, deep.bands, kind)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation that is still to be undone; 1, upright, where the file says none or says nonsense."""
    if image.format == "TIFF":  # Pillow turns these itself
        return 1
    try:
        # The base class's method: PNG's own decodes the whole image in case the tag stands behind the pixels.
        return _known(Image.Image.getexif(image).get(ExifTags.Base.Orientation))
    except Exception:  # a damaged tag, of any of the kinds that the parser knows, is no damage to the pixels
        return 1


def _known(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and orientation in _UPRIGHT else 1


def _read_deep(file: BinaryIO, header: Deep, bands: Bands | None) -> Image.Image:
    pixels = to_eight_bits(read_deep(file, header, bands), header.no_data, header.white)
    if header.inverted:
        pixels = 255 - pixels
    return _from_bands(pixels)


def _from_bands(pixels: UInt8[np.ndarray, "h w b"]) -> Image.Image:
    """One band as grey, or three as red, green and blue."""
    return Image.fromarray(pixels) if pixels.shape[2] == 3 else Image.fromarray(pixels[..., 0]).convert("RGB")


def _read_plain(path: Path, image: Image.Image, at_least: int | None, bands: Bands | None) -> Image.Image:
    reduced = None if at_least is None else _decode_reduced(image, path, at_least)
    if reduced is None:
        image.load()
    else:
        image = reduced
    count = _BANDS.get(image.mode, 1)
    if bands is None or bands == (1, 2, 3) or count == 1:
        return to_rgb(image)
    pixels = np.asarray(image if count == 4 else to_rgb(image))
    return _from_bands(np.ascontiguousarray(pixels[..., [band - 1 for band in bands]]))


def _decode_reduced(image: Image.Image, path: Path, at_least: int) -> Image.Image | None:
    """The file that `image` was opened from, decoded at a multiple of an eighth of its size (libjpeg's scaled inverse
    transform), at most half; None where it is no JPEG of grey or colours, or where Pillow shall say what is wrong."""
    if image.format != "JPEG" or image.mode not in ("L", "RGB"):
        return None
    try:
        sides = {"min_width": at_least, "min_height": at_least}
        return Image.fromarray(simplejpeg.decode_jpeg(path.read_bytes(), **sides, min_factor=2.0))
    except ValueError:
        return None


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in three channels of eight bits. What is deeper is scaled or stretched, where Pillow's own conversion
    would clip everything above 255 to white."""
    if image.mode in _DEEP_MODES:
        return _from_bands(to_eight_bits(np.asarray(image)[..., None]))
    image.info.pop("transparency", None)  # dropped anyhow, and Pillow would warn on every such palette
    return image.convert("RGB")
