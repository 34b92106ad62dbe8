"""Reading image files as upright RGB, whatever their mode, bit depth, bands and orientation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import simplejpeg
from jaxtyping import Shaped, UInt8
from PIL import ExifTags, Image

from remoteclip_jax.data.image_files import check_pixels, open_image_file, open_with_pillow
from remoteclip_jax.data.image_sources import ImageSource
from remoteclip_jax.data.rasters import RasterHeader, raster_header, read_raster, tiff_raster_header
from remoteclip_jax.data.stretch import Percentiles, to_uint8
from remoteclip_jax.data.types import Bands
from remoteclip_jax.errors import UserError

# The operation that makes an image upright, by EXIF orientation (CIPA DC-008). The last four swap width and height.
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Bands to choose from, by Pillow's mode. A fourth band may be labelled as transparency. Other modes are grey.
_BANDS = {"RGB": 3, "P": 3, "PA": 3, "CMYK": 3, "YCbCr": 3, "LAB": 3, "HSV": 3, "RGBX": 4, "RGBA": 4, "RGBa": 4}
_WIDE_MODES = {"I;16": "uint16", "I;16B": "uint16", "I;16L": "uint16", "I;16N": "uint16", "I": "int32", "F": "float32"}


@dataclass(frozen=True)
class ImageHeader:
    """What the header of an image file says.

    `size` is (width, height) in pixels of the upright image, as `read_image` returns it. `orientation` is the EXIF
    orientation that was applied for this (1 to 8; 1 is upright). `bands` is the number of bands to choose from.
    `wide_type` is the type of its values if they have more than eight bits, else None.
    """

    size: tuple[int, int]
    orientation: int
    bands: int
    wide_type: str | None = None


@dataclass(frozen=True)
class OpenImage:
    """An image file that is open, of which only the `header` has been read."""

    path: ImageSource
    header: ImageHeader
    bands: Bands | None
    file: BinaryIO
    pillow: Any  # the image as opened by Pillow; None for a TIFF that Pillow cannot read well
    raster: RasterHeader | None  # if the file is to be read as a raster
    percentiles: Percentiles | None = None

    @property
    def format(self) -> str:
        """The name of the format, as Pillow calls it."""
        return self.raster.format if self.raster is not None else str(self.pillow.format)

    def read(self, at_least: int | None = None) -> Image.Image:
        """The image as from `read_image`, which says more."""
        check_pixels(self.path, *self.header.size)
        try:
            if self.raster is not None:
                values = read_raster(self.file, self.raster, self.bands)
                rgb, orientation = _rgb_from_values(values, self.raster, self.percentiles), self.raster.orientation
            else:
                rgb = _rgb_from_pillow(self.file, self.pillow, at_least, self.bands)
                orientation = _remaining_orientation(self.pillow)
                if self.percentiles is not None:
                    rgb = _image_from_bands(to_uint8(np.asarray(rgb), percentiles=self.percentiles))
        except (UserError, MemoryError):
            raise
        except Exception as e:  # decoders raise many kinds of exceptions for a damaged file
            raise UserError(f"{self.path}: the image is broken ({e}; copy or download it again)") from None
        return rgb.transpose(_TRANSPOSES[orientation]) if orientation in _TRANSPOSES else rgb


@contextmanager
def open_image(
    path: ImageSource, bands: Bands | None = None, percentiles: Percentiles | None = None
) -> Iterator[OpenImage]:
    """The image file, open and with its header read. UserError as from `read_image`, but for too many pixels."""
    with open_image_file(path) as file:
        raster = tiff_raster_header(path, file, bands)
        pillow = open_with_pillow(path, file) if raster is None else None
        if pillow is not None:
            raster = raster_header(pillow, file)
        header = _header(pillow, raster)
        if bands is not None and 1 < header.bands < max(bands):
            raise UserError(f"{path}: has {header.bands} bands; --bands={','.join(map(str, bands))} asks for others")
        yield OpenImage(path, header, bands, file, pillow, raster, percentiles)


def read_header(path: ImageSource, bands: Bands | None = None) -> ImageHeader:
    """The header of an image file; its pixels are not read. UserError as from `read_image`."""
    with open_image(path, bands) as image:
        check_pixels(path, *image.header.size)
        return image.header


def image_size(path: ImageSource) -> tuple[int, int]:
    """Width and height in pixels of the image that `read_image` returns, from the header alone. UserError as there."""
    return read_header(path).size


def read_image(path: ImageSource, at_least: int | None = None, bands: Bands | None = None) -> Image.Image:
    """The image in RGB, made upright by its EXIF orientation.

    Values of more than eight bits are scaled or stretched (see `data.stretch`). The first three of several bands are
    used, or those in `bands`, counted from 1: three for red, green and blue, or one for grey. CMYK and palettes are
    converted; transparency is dropped. With `at_least`, a JPEG is decoded at a reduced size, with a shorter side of at
    least that many pixels; this is several times faster. UserError, naming the file, if it is missing, broken, larger
    than `MAX_PIXELS`, lacks one of the bands, or is not an image.
    """
    with open_image(path, bands) as image:
        return image.read(at_least)


def _header(image: Any, raster: RasterHeader | None) -> ImageHeader:
    """The header, from the parts of an `OpenImage`."""
    if raster is None:
        orientation = _remaining_orientation(image)
        size = image.size[::-1] if orientation >= 5 else image.size
        bands = _BANDS.get(image.mode, 1)
        if image.format == "TIFF":
            orientation = _valid_orientation(image.tag_v2.get(ExifTags.Base.Orientation))  # Pillow applies it itself
            bands = max(bands, image.tag_v2.get(ExifTags.Base.SamplesPerPixel, 1)) if bands > 1 else 1
        return ImageHeader(size, orientation, bands, _WIDE_MODES.get(image.mode))
    size = raster.width, raster.height
    wide_type = raster.dtype.name if raster.dtype.itemsize > 1 else None
    return ImageHeader(size[::-1] if raster.orientation >= 5 else size, raster.orientation, raster.bands, wide_type)


def _remaining_orientation(image: Image.Image) -> int:
    """The EXIF orientation still to be applied; 1 (upright) if the file states none, or an invalid one."""
    if image.format == "TIFF":  # Pillow applies it itself
        return 1
    try:
        # The base class's method. PNG's own decodes the whole image, because the tag may come after the pixels.
        return _valid_orientation(Image.Image.getexif(image).get(ExifTags.Base.Orientation))
    except Exception:  # the parser raises many kinds for a damaged tag, and the pixels may still be intact
        return 1


def _valid_orientation(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and orientation in _TRANSPOSES else 1


def _rgb_from_values(
    values: Shaped[np.ndarray, "h w b"], header: RasterHeader, percentiles: Percentiles | None
) -> Image.Image:
    """The image that the values of a raster show."""
    pixels = to_uint8(values, header.no_data, header.white, percentiles)
    if header.inverted:
        pixels = 255 - pixels
    return _image_from_bands(pixels)


def _image_from_bands(pixels: UInt8[np.ndarray, "h w b"]) -> Image.Image:
    """An RGB image of one band as grey, or of three as red, green and blue."""
    return Image.fromarray(pixels) if pixels.shape[2] == 3 else Image.fromarray(pixels[..., 0]).convert("RGB")


def _rgb_from_pillow(file: BinaryIO, image: Image.Image, at_least: int | None, bands: Bands | None) -> Image.Image:
    reduced = None if at_least is None else _decode_reduced(image, file, at_least)
    if reduced is None:
        try:
            image.load()
        except OSError:
            if image.format != "JPEG2000":
                raise
            image = _decode_jpeg2000(file, image.size)
    else:
        image = reduced
    count = _BANDS.get(image.mode, 1)
    if bands is None or bands == (1, 2, 3) or count == 1:
        return to_rgb(image)
    pixels = np.asarray(image if count == 4 else to_rgb(image))
    return _image_from_bands(np.ascontiguousarray(pixels[..., [band - 1 for band in bands]]))


def _decode_jpeg2000(file: BinaryIO, size: tuple[int, int]) -> Image.Image:
    """For colours that Pillow cannot decode, such as three bands as GDAL writes them. A damaged file may raise any
    exception."""
    import imagecodecs

    file.seek(0)
    image = Image.fromarray(imagecodecs.jpeg2k_decode(file.read()))
    if image.size != size:
        raise ValueError("its pixels have another size than its header says")
    return image


def _decode_reduced(image: Image.Image, file: BinaryIO, at_least: int) -> Image.Image | None:
    """The file behind `image`, decoded at a multiple of an eighth of its size, at most half (libjpeg's scaled inverse
    transform). None if it is not a JPEG in grey or RGB, or if it is broken: then Pillow reports what is wrong."""
    if image.format != "JPEG" or image.mode not in ("L", "RGB"):
        return None
    try:
        sides = {"min_width": at_least, "min_height": at_least}
        file.seek(0)
        return Image.fromarray(simplejpeg.decode_jpeg(file.read(), **sides, min_factor=2.0))
    except ValueError:
        return None


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in three channels of eight bits. Wider values are scaled or stretched; Pillow's own conversion would
    clip everything above 255 to white."""
    if image.mode in _WIDE_MODES:
        return _image_from_bands(to_uint8(np.asarray(image)[..., None]))
    image.info.pop("transparency", None)  # it is dropped anyway, and Pillow would warn about each such palette
    return image.convert("RGB")
