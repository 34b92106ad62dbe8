"""Bands of rows of an image of any size, as RGB of eight bits, perhaps reduced, and what windows show of them."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from remoteclip_jax.data.damage import Damage
from remoteclip_jax.data.images import ImageHeader
from remoteclip_jax.data.stretch import Stretch
from remoteclip_jax.data.tiling import SceneWindow
from remoteclip_jax.data.transforms import Window
from remoteclip_jax.data.windows import enclosing_square
from remoteclip_jax.errors import UserError
from remoteclip_jax.runtime.memory import own_pages

ROWS_AT_A_TIME = 64  # that are decoded, or whole blocks of the file, if it cannot keep a row of them decoded
BLOCK_BYTES = 2**26  # of such a row, if a pixel has twelve: four bands of three bytes
COPY_BYTES = 2**25  # of the reduced copy of a large image


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
    copy: "_ReducedCopy" = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "copy", _ReducedCopy(*self.header.size))

    def strip(self, top: int, bottom: int, reduce: int, before: Strip | None = None) -> Strip:
        """The rows from `top` to `bottom`, and perhaps a few more above and below. What they have in common with those
        of the strip `before` is copied from there."""
        top, bottom = top // reduce * reduce, min(-(-bottom // reduce) * reduce, self.header.size[1])
        rows, columns = (-(-length // reduce) for length in (bottom - top, self.header.size[0]))
        pixels, kept = own_pages(rows, columns, 3), 0
        if reduce > 1 and self.copy.serves(reduce):
            self.copy.fill(top, reduce, pixels)
            return Strip(pixels, top, reduce)
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
        block, step = self.parts.block[0], ROWS_AT_A_TIME
        if block < step or 12 * block * self.header.size[0] > BLOCK_BYTES:
            step = -(-step // block) * block
        step = max(reduce, step // reduce * reduce)
        for start in range(top, bottom, step):
            whole = self._bytes(start, min(start + step, bottom))
            if reduce == 1:
                self.copy.add(start, whole)
            reduced = _reduced(whole, reduce)
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


class _ReducedCopy:
    """A small copy of an image, made on the side while its rows are read for the first time, from top to bottom. Once
    it is complete, coarser rows are taken from it, and the file is not read again for them."""

    def __init__(self, width: int, height: int) -> None:
        self.reduce, self._height, self._next = 2, height, 0
        while 3 * (width // self.reduce) * (height // self.reduce) > COPY_BYTES:
            self.reduce *= 2
        self._size = -(-height // self.reduce), -(-width // self.reduce)
        self._pixels: np.ndarray | None = None
        self._rest = np.empty((0, width, 3), np.uint8)

    def serves(self, reduce: int) -> bool:
        """Whether rows that are reduced so much can be taken from it."""
        return self._next == self._height and reduce % self.reduce == 0

    def add(self, top: int, rows: UInt8[np.ndarray, "h w 3"]) -> None:
        """Take note of rows of the image; nothing is done with those that do not follow the last ones."""
        if top != self._next:
            return
        if self._pixels is None:
            self._pixels = own_pages(*self._size, 3)
        first = (self._next - len(self._rest)) // self.reduce
        self._next += len(rows)
        if len(self._rest):
            rows = np.concatenate([self._rest, rows])
        whole = len(rows) if self._next == self._height else len(rows) // self.reduce * self.reduce
        self._rest = rows[whole:].copy()
        if whole:
            reduced = _reduced(rows[:whole], self.reduce)
            self._pixels[first : first + len(reduced)] = reduced

    def fill(self, top: int, reduce: int, result: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write the rows from `top` into `result`, each `reduce`² pixels of the image averaged into one."""
        assert self._pixels is not None
        factor = reduce // self.reduce
        first = top // self.reduce
        reduced = _reduced(self._pixels[first : first + len(result) * factor], factor)
        result[:] = reduced[: len(result)]


def _reduced(rows: UInt8[np.ndarray, "h w 3"], reduce: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Each `reduce`² pixels averaged into one; beyond the border, the last pixel is repeated."""
    if reduce == 1:
        return rows
    height, width = rows.shape[:2]
    rows = cv2.copyMakeBorder(rows, 0, -height % reduce, 0, -width % reduce, cv2.BORDER_REPLICATE)
    size = rows.shape[1] // reduce, rows.shape[0] // reduce
    return np.asarray(cv2.resize(rows, size, interpolation=cv2.INTER_AREA), np.uint8)
