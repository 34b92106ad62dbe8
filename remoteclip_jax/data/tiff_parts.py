"""Parts of a TIFF, by its strips or tiles, so that a scene of any size needs little memory."""

import math
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Shaped

from remoteclip_jax.data.rasters import JPEG, MIN_IS_BLACK, MIN_IS_WHITE, RGB, YCBCR, stack_shape

MAX_SEGMENT_BYTES = 2**29  # of a strip or tile, which is decoded in one piece
CACHE_BYTES = 2**26  # of decoded strips and tiles: those at the seam of two parts


class IncompleteTiffError(ValueError):
    """The header does not say where all strips or tiles are, so its size means nothing."""


@contextmanager
def open_tiff_parts(file: BinaryIO, indices: list[int]) -> Iterator["TiffParts"]:
    """The TIFF opened by tifffile. ValueError if it has no parts; a damaged file may raise any exception."""
    import tifffile

    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        yield TiffParts(tiff, indices)


class TiffParts:
    """The pixels of the first page of an open `tifffile.TiffFile`, of the bands with these `indices`.

    `block` is the height and the width of what is decoded at a time. ValueError if that is too large, or if the file
    has no rows of pixels.
    """

    def __init__(self, tiff: Any, indices: list[int]) -> None:
        page = tiff.pages[0]
        is_jpeg = page.photometric == YCBCR and page.compression == JPEG  # the decoder converts it to RGB
        if stack_shape(tiff) is not None or not (is_jpeg or page.photometric in (MIN_IS_WHITE, MIN_IS_BLACK, RGB)):
            raise ValueError("it cannot be read by parts")
        if len(page.dataoffsets) < math.prod(page.chunked):
            raise IncompleteTiffError("strips or tiles are missing from its header")
        self._page, self._file, self._indices = page, tiff.filehandle, indices
        self.inverted = page.photometric == MIN_IS_WHITE
        self._separate = page.planarconfig == 2 and page.samplesperpixel > 1
        if self._separate and page.compression == JPEG and page.photometric == RGB:
            raise ValueError("tifffile takes each plane for RGB")
        self._step = 255 // (2**page.bitspersample - 1) if page.bitspersample < 8 else 1
        self._plain = page.compression == 1 and page.is_contiguous and page.bitspersample == 8 * page.dtype.itemsize
        self._segments: OrderedDict[int, Any] = OrderedDict()
        self._bytes = 0
        height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        self.block = (1 if self._plain else min(height, page.imagelength), min(width, page.imagewidth))
        size = self.block[0] * self.block[1] * page.dtype.itemsize
        if size * (1 if self._separate else page.samplesperpixel) > MAX_SEGMENT_BYTES:
            raise ValueError("its strips or tiles are too large")

    def read(self, left: int, top: int, width: int, height: int) -> Shaped[np.ndarray, "h w b"]:
        """The values of a part. A damaged file may raise any exception."""
        if self._plain:
            return self._read_plain(left, top, width, height)
        page, (rows, columns) = self._page, self.block
        values = np.zeros((height, width, len(self._indices)), page.dtype if self._step == 1 else np.uint8)
        across, down = -(-page.imagewidth // columns), -(-page.imagelength // rows)
        for y in range(top // rows, -(-(top + height) // rows)):
            for x in range(left // columns, -(-(left + width) // columns)):
                for plane in dict.fromkeys(self._indices) if self._separate else (0,):
                    pixels = self._segment((plane * down + y) * across + x)
                    bands = [i for i, index in enumerate(self._indices) if not self._separate or index == plane]
                    columns_read = [0 if self._separate else self._indices[i] for i in bands]
                    y0, x0 = y * rows, x * columns
                    y1, x1 = max(y0, top), max(x0, left)
                    y2, x2 = min(y0 + pixels.shape[0], top + height), min(x0 + pixels.shape[1], left + width)
                    part = pixels[y1 - y0 : y2 - y0, x1 - x0 : x2 - x0]
                    values[y1 - top : y2 - top, x1 - left : x2 - left, bands] = part[..., columns_read]
        return values

    def _segment(self, index: int) -> Shaped[np.ndarray, "h w b"]:
        if index in self._segments:
            self._segments.move_to_end(index)
            found: np.ndarray = self._segments[index]
            return found
        page = self._page
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if count == 0:  # sparse files omit tiles without a measurement
            return np.full((*self.block, page.samplesperpixel), page.nodata, page.dtype)
        self._file.seek(offset)
        data = self._file.read(count)
        if len(data) < count:
            raise ValueError("the file is cut off")
        pixels = page.decode(data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)[0]
        if pixels is None:
            return np.full((*self.block, page.samplesperpixel), page.nodata, page.dtype)
        result: np.ndarray = pixels[0] if self._step == 1 else pixels[0] * np.uint8(self._step)
        self._segments[index] = result
        self._bytes += result.nbytes
        while self._bytes > CACHE_BYTES and len(self._segments) > 1:
            self._bytes -= self._segments.popitem(last=False)[1].nbytes
        return result

    def _read_plain(self, left: int, top: int, width: int, height: int) -> Shaped[np.ndarray, "h w b"]:
        """Rows of values that lie in the file one after another, without compression."""
        page = self._page
        samples = 1 if self._separate else page.samplesperpixel
        dtype = page.dtype.newbyteorder(page.parent.byteorder)
        row = page.imagewidth * samples * dtype.itemsize
        planes = []
        for plane in self._indices if self._separate else (0,):
            self._file.seek(page.dataoffsets[0] + (plane * page.imagelength + top) * row)
            data = self._file.read(height * row)
            if len(data) < height * row:
                raise ValueError("the file is cut off")
            pixels = np.frombuffer(data, dtype).reshape(height, page.imagewidth, samples)[:, left : left + width]
            planes.append(pixels if self._separate else pixels[..., self._indices])
        return np.concatenate(planes, -1).astype(page.dtype, copy=False)
