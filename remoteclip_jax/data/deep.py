"""Images of more than eight bits or of more bands than colours, which Pillow reads wrongly or not at all: TIFF by
tifffile, PNG and JPEG 2000 by imagecodecs, which also undoes the compressions that GeoTIFFs come in (LZW above all)."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from remoteclip_jax.data.image_files import check_pixels, unreadable
from remoteclip_jax.errors import UserError

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two are BigTIFF
MOST_BANDS = 1024  # hyperspectral sensors have some hundreds
LARGEST_SEGMENT = 2**32  # bytes of a strip or tile, which is decoded at once
PILLOWS_LIMIT = 80_000_000  # pixels; its guard against bombs (see `image_files`) also stands in its reader of TIFFs
ORIENTATION, GDAL_NODATA = 274, 42113  # tags
MIN_IS_WHITE, MIN_IS_BLACK, RGB, YCBCR = 0, 1, 2, 6  # photometric interpretations
JPEG = 7  # compression

_UINT16 = np.dtype(np.uint16)

Bands = tuple[int, ...]  # one, or red, green and blue; counted from 1


@dataclass(frozen=True)
class Deep:
    """What the header of such a file tells: its format, the size as stored, the number of bands and their type, the
    orientation that is still to be undone, the value that says "nothing measured" and the largest one possible, if any;
    and whether 0 is white."""

    format: str
    width: int
    height: int
    bands: int
    dtype: np.dtype
    orientation: int = 1
    no_data: float | None = None
    white: float | None = None
    inverted: bool = False


def deep_tiff(path: Path, file: BinaryIO, bands: Bands | None) -> Deep | None:
    """The header of a TIFF that Pillow shall not read; None where it shall, and where this is none or is broken."""
    file.seek(0)
    if not file.read(4).startswith(TIFF_STARTS):
        return None
    try:
        with _tiff(file) as tiff:
            return _tiff_header(path, tiff) if _is_deep(tiff, bands) else None
    except _Broken:
        return None


def deep_header(image: Image.Image, file: BinaryIO) -> Deep | None:
    """The header of a PNG or JPEG 2000 of which Pillow would read no more than eight bits, None of any other."""
    if image.format not in ("PNG", "JPEG2000"):
        return None
    file.seek(0)
    start = file.read(512)
    if image.format == "PNG":
        bands = {2: 3, 4: 2, 6: 4}.get(start[25])  # by its type of colour; Pillow reads deep grey, 0, as it is
        return Deep("PNG", *image.size, bands, _UINT16) if start[24] == 16 and bands else None
    depth = _jpeg2000_depth(start)
    return Deep("JPEG2000", *image.size, len(image.getbands()), _UINT16, white=2.0**depth - 1) if depth > 8 else None


def read_deep(file: BinaryIO, header: Deep, bands: Bands | None) -> Shaped[np.ndarray, "h w b"]:
    """The pixels of one band, or of three. Any exception where the file is damaged."""
    chosen = [band - 1 for band in choose_bands(header.bands, bands)]
    if header.format == "TIFF":
        with _tiff(file) as tiff:
            return _read_tiff(tiff, chosen)
    import imagecodecs

    file.seek(0)
    decode = imagecodecs.png_decode if header.format == "PNG" else imagecodecs.jpeg2k_decode
    values = decode(file.read())
    values = values.reshape(*values.shape[:2], -1)
    if values.shape[:2] != (header.height, header.width) or values.shape[2] <= max(chosen):
        raise ValueError("its pixels are of another size than its header says")
    return values[..., chosen]


def choose_bands(count: int, bands: Bands | None) -> Bands:
    """Which of `count` bands are shown: those asked for, if there are several to choose from; else the first three, or
    of one or two the first."""
    if count > 1 and bands is not None:
        return bands
    return (1, 2, 3) if count >= 3 else (1,)


def _is_deep(tiff: Any, bands: Bands | None) -> bool:
    page = tiff.pages[0]
    if page.dtype is None or page.dtype.kind == "b" or (page.dtype == np.uint8 and page.bitspersample != 8):
        return False
    if page.dtype != np.uint8 or page.samplesperpixel > 4 or _stack(tiff) is not None:
        return True
    huge = page.imagewidth * page.imagelength > PILLOWS_LIMIT
    if page.photometric == YCBCR:  # which the decoder of JPEG turns into RGB
        return huge and page.compression == JPEG
    several = page.samplesperpixel > (1 if page.photometric != RGB else 3 if bands is not None else 4)
    return page.photometric in (MIN_IS_WHITE, MIN_IS_BLACK, RGB) and (huge or several)


class _Broken(Exception):
    """tifffile stumbled over something."""


@contextmanager
def _tiff(file: BinaryIO) -> Iterator[Any]:
    """The file as tifffile sees it. `_Broken` where it stumbles, which it does in many ways."""
    import tifffile

    log = logging.getLogger("tifffile")
    if not any(isinstance(handler, logging.NullHandler) for handler in log.handlers):
        log.addHandler(logging.NullHandler())  # else it prints what it finds odd, for want of a handler
    try:
        file.seek(0)
        with tifffile.TiffFile(file) as tiff:
            yield tiff
    except (UserError, MemoryError):
        raise
    except Exception as e:
        raise _Broken(str(e) or type(e).__name__) from None


def _tiff_header(path: Path, tiff: Any) -> Deep:
    page = tiff.pages[0]
    if (shape := _stack(tiff)) is not None:
        height, width, bands = shape
    else:
        height, width, bands = page.imagelength, page.imagewidth, page.samplesperpixel
    check_pixels(path, width, height)
    if min(width, height, bands) < 1 or bands > MOST_BANDS or page.imagedepth != 1:
        raise unreadable(path, f"{width}x{height} pixels of {bands} bands are no image")
    orientation = page.tags.valueof(ORIENTATION, 1)
    return Deep(
        "TIFF",
        width,
        height,
        bands,
        np.dtype(page.dtype),
        no_data=_number(page.tags.valueof(GDAL_NODATA)),
        orientation=orientation if orientation in range(1, 9) else 1,
        inverted=page.photometric == MIN_IS_WHITE,
    )


def _stack(tiff: Any) -> tuple[int, int, int] | None:
    """Height, width and bands of an array that tifffile wrote in slices of its first axis, one a page, as it does where
    nobody told it which axis has the bands; else None."""
    if not tiff.is_shaped or len(tiff.pages) == 1 or len(shape := tiff.series[0].shape) != 3:
        return None
    first, second, third = shape
    return (second, third, first) if first < third else (first, second, third)


def _number(text: Any) -> float | None:
    try:
        return float(str(text).strip().strip("\0"))
    except ValueError:
        return None


def _read_tiff(tiff: Any, chosen: list[int]) -> Shaped[np.ndarray, "h w b"]:
    page = tiff.pages[0]
    if _stack(tiff) is not None:
        values = tiff.series[0].asarray(maxworkers=1)
        return (values.transpose(1, 2, 0) if values.shape[0] < values.shape[2] else values)[..., chosen]
    size = tiff.filehandle.size
    if max(page.databytecounts) > size or (page.compression == 1 and page.nbytes > size):
        raise ValueError("the file is cut off")
    if np.prod(page.chunks, dtype=float) * page.dtype.itemsize > LARGEST_SEGMENT:
        raise ValueError("its strips or tiles are too large")
    if len(page.dataoffsets) < np.prod(page.chunked):
        raise ValueError("strips or tiles are missing from its header")
    separate = page.planarconfig == 2 and page.samplesperpixel > 1
    # Takes no memory before it is written to, so that a damaged header does not either.
    values = np.zeros((page.imagelength, page.imagewidth, len(chosen)), page.dtype)
    for segment, (band, _, top, left, _), shape in page.segments(maxworkers=1):
        target = values[top : top + shape[1], left : left + shape[2]]
        if segment is None:  # a tile without a measurement, which sparse files leave out
            target[:] = _number(page.tags.valueof(GDAL_NODATA)) or 0
            continue
        pixels = segment[0, : target.shape[0], : target.shape[1]]
        for place, wanted in enumerate(chosen):
            if not separate:
                target[..., place] = pixels[..., wanted]
            elif band == wanted:
                target[..., place] = pixels[..., 0]
    return values


def _jpeg2000_depth(start: bytes) -> int:
    """Bits of a component, from the marker SIZ of the codestream (ISO 15444-1, A.5.1)."""
    place = start.find(b"\xff\x4f\xff\x51")
    return (start[place + 42] & 0x7F) + 1 if 0 <= place < len(start) - 42 else 8
