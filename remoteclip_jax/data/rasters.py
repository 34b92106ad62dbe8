"""Rasters: images with more than eight bits per value, or with more than the usual bands, as satellites deliver them.

Pillow reads them wrongly or not at all. TIFF is read by tifffile, PNG and JPEG 2000 by imagecodecs, which also decodes
the compression schemes of GeoTIFFs (LZW above all).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from remoteclip_jax.data.image_files import unreadable_error
from remoteclip_jax.data.image_sources import ImageSource
from remoteclip_jax.data.types import Bands
from remoteclip_jax.errors import UserError

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
MAX_BANDS = 1024  # hyperspectral sensors have a few hundred
MAX_SEGMENT_BYTES = 2**32  # of a strip or tile, which is decoded in one piece
PILLOW_MAX_PIXELS = 80_000_000  # Pillow's guard against bombs (see `image_files`) also applies in its TIFF reader
ORIENTATION, GDAL_NODATA = 274, 42113  # tags
MIN_IS_WHITE, MIN_IS_BLACK, RGB, YCBCR = 0, 1, 2, 6  # photometric interpretations
JPEG = 7  # compression
NOT_IN_PILLOW = (34887, 50001, 50002, 52546)  # compressions it lacks, or may lack: LERC, WebP and JPEG XL

_UINT16 = np.dtype(np.uint16)


@dataclass(frozen=True)
class RasterHeader:
    """What the header of a raster says.

    `width` and `height` are as stored, in pixels; `orientation` is the EXIF orientation still to be applied. `no_data`
    is the value that marks pixels without a measurement, and `white` the largest possible value; None if the file does
    not say. `inverted` means that 0 is white.
    """

    format: str
    width: int
    height: int
    bands: int
    dtype: np.dtype
    orientation: int = 1
    no_data: float | None = None
    white: float | None = None
    inverted: bool = False


def tiff_raster_header(path: ImageSource, file: BinaryIO, bands: Bands | None) -> RasterHeader | None:
    """The header of a TIFF that Pillow cannot read well. None for other TIFFs, other formats and broken files."""
    file.seek(0)
    if not file.read(4).startswith(TIFF_SIGNATURES):
        return None
    try:
        with _open_tiff(file) as tiff:
            return _tiff_header(path, tiff) if _is_raster(tiff, bands) else None
    except _TiffError:
        return None


def raster_header(image: Image.Image, file: BinaryIO) -> RasterHeader | None:
    """The header of a PNG or JPEG 2000 that Pillow would truncate to eight bits; None for other images."""
    if image.format not in ("PNG", "JPEG2000"):
        return None
    file.seek(0)
    if image.format == "PNG":
        start = file.read(26)
        # Bands by colour type. Pillow reads 16-bit grey (type 0) correctly.
        bands = {2: 3, 4: 2, 6: 4}.get(start[25])
        return RasterHeader("PNG", *image.size, bands, _UINT16) if start[24] == 16 and bands else None
    depth = _jpeg2000_depth(file)
    if depth <= 8:
        return None
    return RasterHeader("JPEG2000", *image.size, len(image.getbands()), _UINT16, white=2.0**depth - 1)


def read_raster(file: BinaryIO, header: RasterHeader, bands: Bands | None) -> Shaped[np.ndarray, "h w b"]:
    """The pixels of one band or of three. A damaged file may raise any exception."""
    indices = [band - 1 for band in selected_bands(header.bands, bands)]
    if header.format == "TIFF":
        with _open_tiff(file) as tiff:
            return _read_tiff(tiff, indices)
    import imagecodecs

    file.seek(0)
    decode = imagecodecs.png_decode if header.format == "PNG" else imagecodecs.jpeg2k_decode
    values = decode(file.read())
    values = values.reshape(*values.shape[:2], -1)
    if values.shape[:2] != (header.height, header.width) or values.shape[2] <= max(indices):
        raise ValueError("its pixels have another size than its header says")
    return values[..., indices]


def selected_bands(count: int, bands: Bands | None) -> Bands:
    """The bands to use of an image that has `count`: `bands` if there are several to choose from; else the first three,
    or, of one or two, the first."""
    if count > 1 and bands is not None:
        return bands
    return (1, 2, 3) if count >= 3 else (1,)


def _is_raster(tiff: Any, bands: Bands | None) -> bool:
    """Whether a TIFF is to be read here rather than by Pillow."""
    page = tiff.pages[0]
    if page.dtype is None or page.dtype.kind == "b" or (page.dtype == np.uint8 and page.bitspersample != 8):
        return False
    if page.dtype != np.uint8 or page.samplesperpixel > 4 or stack_shape(tiff) is not None:
        return True
    huge = page.imagewidth * page.imagelength > PILLOW_MAX_PIXELS
    if page.photometric == YCBCR:  # the JPEG decoder converts it to RGB
        return huge and page.compression == JPEG
    extra_bands = page.samplesperpixel > (1 if page.photometric != RGB else 3 if bands is not None else 4)
    no_data = (_parse_float(page.tags.valueof(GDAL_NODATA)) or 0) > 0  # Pillow would show it as bright as it is
    unknown = page.compression in NOT_IN_PILLOW or 0 in page.databytecounts  # of sparse files, Pillow reads the header
    return page.photometric in (MIN_IS_WHITE, MIN_IS_BLACK, RGB) and (huge or extra_bands or no_data or unknown)


class _TiffError(Exception):
    """tifffile could not read the file."""


@contextmanager
def _open_tiff(file: BinaryIO) -> Iterator[Any]:
    """The file opened by tifffile. `_TiffError` if that fails: tifffile raises many kinds of exceptions."""
    import tifffile

    log = logging.getLogger("tifffile")
    if not any(isinstance(handler, logging.NullHandler) for handler in log.handlers):
        log.addHandler(logging.NullHandler())  # without a handler, its warnings would be printed
    try:
        file.seek(0)
        with tifffile.TiffFile(file) as tiff:
            yield tiff
    except (UserError, MemoryError):
        raise
    except Exception as e:
        raise _TiffError(str(e) or type(e).__name__) from None


def _tiff_header(path: ImageSource, tiff: Any) -> RasterHeader:
    page = tiff.pages[0]
    if (shape := stack_shape(tiff)) is not None:
        height, width, bands = shape
    else:
        height, width, bands = page.imagelength, page.imagewidth, page.samplesperpixel
    if min(width, height, bands) < 1 or bands > MAX_BANDS or page.imagedepth != 1:
        raise unreadable_error(path, f"{width}x{height} pixels of {bands} bands are not an image")
    orientation = page.tags.valueof(ORIENTATION, 1)
    return RasterHeader(
        "TIFF",
        width,
        height,
        bands,
        np.dtype(page.dtype),
        no_data=_parse_float(page.tags.valueof(GDAL_NODATA)),
        orientation=orientation if orientation in range(1, 9) else 1,
        inverted=page.photometric == MIN_IS_WHITE,
    )


def stack_shape(tiff: Any) -> tuple[int, int, int] | None:
    """Height, width and bands of an array that tifffile wrote as one page for each slice of the first axis; else None.

    tifffile does this if it was not told which axis holds the bands.
    """
    if not tiff.is_shaped or len(tiff.pages) == 1 or len(shape := tiff.series[0].shape) != 3:
        return None
    first, second, third = shape
    return (second, third, first) if first < third else (first, second, third)


def _parse_float(text: Any) -> float | None:
    try:
        return float(str(text).strip().strip("\0"))
    except ValueError:
        return None


def _read_tiff(tiff: Any, indices: list[int]) -> Shaped[np.ndarray, "h w b"]:
    page = tiff.pages[0]
    if stack_shape(tiff) is not None:
        values = tiff.series[0].asarray(maxworkers=1)
        return (values.transpose(1, 2, 0) if values.shape[0] < values.shape[2] else values)[..., indices]
    size, sparse = tiff.filehandle.size, 0 in page.databytecounts
    stored = page.imagelength * page.imagewidth * page.samplesperpixel * page.bitspersample // 8
    if max(page.databytecounts) > size or (page.compression == 1 and not sparse and stored > size):
        raise ValueError("the file is cut off")
    if np.prod(page.chunks, dtype=float) * page.dtype.itemsize > MAX_SEGMENT_BYTES:
        raise ValueError("its strips or tiles are too large")
    if len(page.dataoffsets) < np.prod(page.chunked):
        raise ValueError("strips or tiles are missing from its header")
    separate_planes = page.planarconfig == 2 and page.samplesperpixel > 1
    # Zero pages take no memory until they are written to. So a damaged header cannot exhaust the memory.
    values = np.zeros((page.imagelength, page.imagewidth, len(indices)), page.dtype)
    for segment, (band, _, top, left, _), shape in page.segments(maxworkers=1):
        target = values[top : top + shape[1], left : left + shape[2]]
        if segment is None:  # sparse files omit tiles without a measurement
            target[:] = _parse_float(page.tags.valueof(GDAL_NODATA)) or 0
            continue
        pixels = segment[0, : target.shape[0], : target.shape[1]]
        for i, index in enumerate(indices):
            if not separate_planes:
                target[..., i] = pixels[..., index]
            elif band == index:
                target[..., i] = pixels[..., 0]
    return values


def _jpeg2000_depth(file: BinaryIO) -> int:
    """Bits per component, from the SIZ marker of the codestream (ISO 15444-1, A.5.1); 8 if there is none. The boxes
    before it are skipped (I.4): of maps, they hold kilobytes of coordinates."""
    place, end = 0, file.seek(0, 2)
    while place < end:
        file.seek(place)
        start = file.read(59)
        code = 0 if place == 0 and start.startswith(b"\xff\x4f") else 16 if start[:4] == b"\0\0\0\1" else 8
        if start[code : code + 4] == b"\xff\x4f\xff\x51" and len(start) > code + 42:
            return (start[code + 42] & 0x7F) + 1
        length = int.from_bytes(start[8:16] if code == 16 else start[:4], "big")
        if length < 8:  # 0: to the end of the file
            break
        place += length
    return 8
