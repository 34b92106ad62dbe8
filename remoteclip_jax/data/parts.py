"""Reading an image of any size by bands of rows, as upright RGB of eight bits.

An image of up to `WHOLE_PIXELS` is decoded as a whole, exactly as `read_image` does. Larger ones are read by parts
where their format allows it: TIFF by its strips and tiles; if rasterio is installed, JPEG 2000, JPEG, and TIFF of any
other kind by GDAL. What cannot be read by parts is decoded as a whole up to `image_files.MAX_PIXELS`.
"""

import contextlib
import math
import mmap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from remoteclip_jax.data.damage import Damage
from remoteclip_jax.data.gdal_parts import GDAL_DRIVERS, has_gdal, open_gdal_parts
from remoteclip_jax.data.images import ImageHeader, OpenImage, open_image
from remoteclip_jax.data.rasters import selected_bands
from remoteclip_jax.data.stretch import Percentiles, Stretch, fit_stretch
from remoteclip_jax.data.tiff_parts import IncompleteTiffError, open_tiff_parts
from remoteclip_jax.data.tiling import SceneWindow, is_seen_whole
from remoteclip_jax.data.transforms import Window
from remoteclip_jax.data.types import Bands
from remoteclip_jax.data.windows import enclosing_square
from remoteclip_jax.errors import UserError

WHOLE_PIXELS = 2**24
ROWS_AT_A_TIME = 128  # that are decoded, at least; whole blocks of the file
SAMPLES, SAMPLE_SIDE = 8, 256  # a grid of 8×8 squares of the image shows how it is to be stretched


@runtime_checkable
class Parts(Protocol):
    """Reads parts of a file; `block` is the height and the width of what it decodes at a time. `inverted` means that 0
    is white."""

    block: tuple[int, int]
    inverted: bool

    def read(self, left: int, top: int, width: int, height: int) -> Shaped[np.ndarray, "h w b"]:
        """The values of a part. A damaged file may raise any exception."""


@dataclass(frozen=True)
class Strip:
    """Rows of an image over its whole width, the first of them `top`. Each pixel is the mean of `reduce`² of the image,
    if that was reduced."""

    pixels: UInt8[np.ndarray, "h w 3"] | Image.Image
    top: int = 0
    reduce: int = 1

    def cut(self, window: SceneWindow) -> tuple[Image.Image, Window]:
        """The part of the image in `window`, and where in that part the window lies."""
        if isinstance(self.pixels, Image.Image) and window.is_whole:
            return self.pixels, enclosing_square(*self.pixels.size)
        width, height = self.pixels.size if isinstance(self.pixels, Image.Image) else self.pixels.shape[1::-1]
        left, top, side = (x / self.reduce for x in (window.left, window.top - self.top, window.side))
        x1, y1 = int(left), int(top)
        x2, y2 = min(width, math.ceil(left + side)), min(height, math.ceil(top + side))
        if isinstance(self.pixels, Image.Image):
            part = self.pixels.crop((x1, y1, x2, y2))
        else:
            part = Image.fromarray(np.ascontiguousarray(self.pixels[y1:y2, x1:x2]))
        return part, Window((left - x1) / (x2 - x1), (top - y1) / (y2 - y1), side / (x2 - x1), side / (y2 - y1))


@dataclass(frozen=True)
class DecodedImage:
    """An image that was decoded as a whole, perhaps at a reduced size. `header` has its own size."""

    header: ImageHeader
    image: Image.Image

    def strip(self, top: int, bottom: int, reduce: int, before: Strip | None = None) -> Strip:
        """The whole image, whichever rows are asked for."""
        return Strip(self.image)

    def damage(self, path: Path) -> UserError | None:
        """None: a damaged image could not be decoded."""
        return None


@dataclass(frozen=True)
class PartialImage:
    """An image that is read by parts."""

    header: ImageHeader
    parts: Parts
    stretch: Stretch
    lost: Damage = field(default_factory=Damage)

    def strip(self, top: int, bottom: int, reduce: int, before: Strip | None = None) -> Strip:
        """The rows from `top` to `bottom`, and perhaps a few more above and below. What they have in common with those
        of the strip `before` is copied from there."""
        top, bottom = top // reduce * reduce, min(-(-bottom // reduce) * reduce, self.header.size[1])
        rows, columns = (-(-length // reduce) for length in (bottom - top, self.header.size[0]))
        pixels, kept = _empty(rows, columns), 0
        if before is not None and before.reduce == reduce and before.top <= top:
            assert isinstance(before.pixels, np.ndarray)
            common = before.pixels[(top - before.top) // reduce :][:rows]
            pixels[: len(common)], kept = common, len(common)
        if kept < rows:
            self._read(top + kept * reduce, bottom, reduce, pixels[kept:])
        return Strip(pixels, top, reduce)

    def damage(self, path: Path) -> UserError | None:
        """What could not be read, if anything."""
        (width, height), (rows, columns) = self.header.size, self.parts.block
        return self.lost.error(path, -(-width // columns) * -(-height // rows))

    def _read(self, top: int, bottom: int, reduce: int, result: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write the rows from `top` to `bottom` into `result`, each `reduce`² pixels averaged into one."""
        step = max(reduce, -(-ROWS_AT_A_TIME // self.parts.block[0]) * self.parts.block[0] // reduce * reduce)
        for start in range(top, bottom, step):
            reduced = _reduced(self._bytes(start, min(start + step, bottom)), reduce)
            begin = (start - top) // reduce
            result[begin : begin + len(reduced)] = reduced

    def _bytes(self, top: int, bottom: int) -> UInt8[np.ndarray, "h w 3"]:
        width = self.header.size[0]
        try:
            values = self.parts.read(0, top, width, bottom - top)
        except Exception:  # decoders raise many kinds
            values = self._undamaged(top, bottom)
        pixels = self.stretch.apply(values)
        if self.parts.inverted:
            pixels = 255 - pixels
        return pixels if pixels.shape[2] == 3 else np.repeat(pixels[..., :1], 3, 2)

    def _undamaged(self, top: int, bottom: int) -> Shaped[np.ndarray, "h w b"]:
        """The rows, read block by block, with zeros for those that cannot be read."""
        width, (rows, columns) = self.header.size[0], self.parts.block
        values: np.ndarray | None = None
        read = []
        for y in range(top // rows * rows, bottom, rows):
            y1, y2 = max(y, top), min(y + rows, bottom)
            for x in range(0, width, columns):
                x2 = min(x + columns, width)
                try:
                    read.append((x, x2, y1, y2, self.parts.read(x, y1, x2 - x, y2 - y1)))
                except Exception:
                    self.lost.add(x, y)
        for x, x2, y1, y2, part in read:
            if values is None:
                values = np.zeros((bottom - top, width, part.shape[2]), part.dtype)
            values[y1 - top : y2 - top, x:x2] = part
        return np.zeros((bottom - top, width, 1), np.uint8) if values is None else values


@contextlib.contextmanager
def open_parts(
    path: Path,
    side: Callable[[ImageHeader], int | None],
    at_least: Callable[[int, int], int],
    bands: Bands | None = None,
    percentiles: Percentiles | None = None,
    allowed: Callable[[int], AbstractContextManager[Any]] = contextlib.nullcontext,
) -> Iterator[DecodedImage | PartialImage]:
    """The image, to be looked at in windows of `side(header)` pixels (None: whole).

    One that is seen whole may be decoded at a reduced size, of which `at_least(width, height)` is the least shorter
    side. A number of pixels is decoded as a whole while it is `allowed`. UserError as from `read_image`.
    """
    with open_image(path, bands, percentiles) as image, contextlib.ExitStack() as stack:
        width, height = image.header.size
        whole = is_seen_whole(width, height, side(image.header))
        parts = decoded = None
        if width * height > WHOLE_PIXELS and not (whole and image.format == "JPEG"):
            parts = _open_by_parts(image, stack)
        if parts is None:
            stack.enter_context(allowed(width * height))
            try:
                decoded = image.read(at_least(width, height) if whole else None)
            except UserError:  # what of a damaged TIFF is intact can be searched
                parts = _open_by_parts(image, stack) if image.format == "TIFF" else None
                if parts is None:
                    raise
        if parts is not None:
            yield PartialImage(image.header, parts, _fitted_stretch(image, parts))
        elif decoded is not None:
            yield DecodedImage(image.header, decoded)


def _open_by_parts(image: OpenImage, stack: contextlib.ExitStack) -> Parts | None:
    """The parts of the file; None if it can only be read as a whole."""
    if image.header.orientation != 1:
        return None
    indices = [band - 1 for band in selected_bands(image.header.bands, image.bands)]
    openers: list[AbstractContextManager[Parts]] = []
    if image.format == "TIFF":  # GDAL would not notice damage that only a checksum shows
        openers.append(open_tiff_parts(image.file, indices))
    if has_gdal() and image.format in GDAL_DRIVERS:
        openers.append(open_gdal_parts(image.path, image.format, indices))
    for opener in openers:
        try:
            return stack.enter_context(opener)
        except IncompleteTiffError:
            return None
        except Exception:  # the file is then read as a whole, or what is wrong is said there
            continue
    return None


def _fitted_stretch(image: OpenImage, parts: Parts) -> Stretch:
    """The stretch for the whole image, from squares all over it."""
    (width, height), raster = image.header.size, image.raster
    no_data, white = (raster.no_data, raster.white) if raster else (None, None)
    if image.header.wide_type is None and image.percentiles is None:
        return Stretch((), no_data)
    samples = []
    w, h = min(SAMPLE_SIDE, width), min(SAMPLE_SIDE, height)
    for i in range(SAMPLES * SAMPLES):
        x, y = (
            (length - part) * n // (SAMPLES - 1)
            for length, part, n in ((width, w, i % SAMPLES), (height, h, i // SAMPLES))
        )
        with contextlib.suppress(Exception):  # damaged blocks are counted when they are looked at
            samples.append(parts.read(x, y, w, h))
    if not samples:
        raise UserError(f"{image.path}: the image is broken (nothing of it can be read; copy or download it again)")
    return fit_stretch(np.concatenate(samples), no_data, white, image.percentiles)


def _empty(rows: int, columns: int) -> UInt8[np.ndarray, "rows columns 3"]:
    """An array in pages of its own, which go back to the system. Those of malloc may be kept (`runtime.memory`), and
    large ones leave holes there."""
    return np.frombuffer(mmap.mmap(-1, rows * columns * 3), np.uint8).reshape(rows, columns, 3)


def _reduced(rows: UInt8[np.ndarray, "h w 3"], reduce: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Each `reduce`² pixels averaged into one; beyond the border, the last pixel is repeated."""
    if reduce == 1:
        return rows
    height, width = rows.shape[:2]
    rows = cv2.copyMakeBorder(rows, 0, -height % reduce, 0, -width % reduce, cv2.BORDER_REPLICATE)
    size = rows.shape[1] // reduce, rows.shape[0] // reduce
    return np.asarray(cv2.resize(rows, size, interpolation=cv2.INTER_AREA), np.uint8)
