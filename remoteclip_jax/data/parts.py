"""Reading an image of any size by bands of rows, as upright RGB of eight bits.

An image of up to `WHOLE_PIXELS` is decoded as a whole, exactly as `read_image` does. Larger ones are read by parts
where their format allows it: TIFF by its strips and tiles; if rasterio is installed, JPEG 2000, JPEG, and TIFF of any
other kind by GDAL. What cannot be read by parts is decoded as a whole up to `image_files.MAX_PIXELS`.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from remoteclip_jax.data.gdal_parts import GDAL_DRIVERS, has_gdal, open_gdal_parts
from remoteclip_jax.data.images import ImageHeader, OpenImage, open_image
from remoteclip_jax.data.rasters import selected_bands
from remoteclip_jax.data.stretch import Percentiles, Stretch, fit_stretch
from remoteclip_jax.data.strips import DecodedImage, PartialImage, Parts
from remoteclip_jax.data.tiff_parts import IncompleteTiffError, open_tiff_parts
from remoteclip_jax.data.tiling import is_seen_whole
from remoteclip_jax.data.types import Bands
from remoteclip_jax.errors import UserError

WHOLE_PIXELS = 2**24
SAMPLES, SAMPLE_SIDE = 8, 256  # a grid of 8×8 squares of the image shows how it is to be stretched


@contextlib.contextmanager
def open_parts(
    path: Path,
    side: Callable[[ImageHeader], int | None],
    at_least: Callable[[int, int], int],
    bands: Bands | None = None,
    percentiles: Percentiles | None = None,
    allowed: Callable[[int], AbstractContextManager[Any]] | None = None,
) -> Iterator[DecodedImage | PartialImage | None]:
    """The image, to be looked at in windows of `side(header)` pixels (None: whole).

    One that is seen whole may be decoded at a reduced size, of which `at_least(width, height)` is the least shorter
    side. It is decoded while its number of pixels is `allowed`. None in place of another one that must be decoded as a
    whole: it would be in memory until all of its windows are seen, so call this without `allowed` when it is its turn.
    UserError as from `read_image`.
    """
    with open_image(path, bands, percentiles) as image, contextlib.ExitStack() as stack:
        width, height = image.header.size
        whole = is_seen_whole(width, height, side(image.header))
        parts = decoded = None
        if width * height > WHOLE_PIXELS and not (whole and image.format == "JPEG"):
            parts = _open_by_parts(image, stack)
        if parts is None and not whole and allowed is not None:
            yield None
            return
        if parts is None:
            stack.enter_context((allowed or contextlib.nullcontext)(width * height))
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
    if has_gdal() and image.format in GDAL_DRIVERS and isinstance(image.path, Path):
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
