"""Parts of an image by GDAL (rasterio, the extra `geo`): GeoTIFF, JPEG 2000 and JPEG without decoding the whole."""

import logging
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

CACHE_BYTES = 2**26  # of decoded blocks: those at the seam of two parts
GDAL_DRIVERS = {"TIFF": "GTiff", "JPEG2000": "JP2OpenJPEG", "JPEG": "JPEG"}  # by Pillow's name of the format

_filters = threading.Lock()


def has_gdal() -> bool:
    """Whether rasterio is installed."""
    try:
        import rasterio  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def no_georeference_warning() -> Iterator[None]:
    """Without rasterio's warning of images that have no coordinates. One thread at a time: the list of what is ignored
    is that of the whole process."""
    from rasterio.errors import NotGeoreferencedWarning

    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@contextmanager
def open_gdal_parts(path: Path, image_format: str, indices: list[int]) -> Iterator["GdalParts"]:
    """The image opened by GDAL. A damaged file may raise any exception."""
    import rasterio

    log = logging.getLogger("rasterio")
    if not any(isinstance(handler, logging.NullHandler) for handler in log.handlers):
        log.addHandler(logging.NullHandler())  # without a handler, its warnings would be printed

    def open_dataset() -> tuple[ExitStack, Any]:
        with ExitStack() as stack:
            # Without a limit, the cache takes a twentieth of the machine's memory. GDAL's threads would print errors.
            stack.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_NUM_THREADS=1))
            with no_georeference_warning():
                # The name may look like one of GDAL's virtual paths, but for an absolute one.
                dataset = rasterio.open(path.absolute(), driver=GDAL_DRIVERS[image_format])
            stack.enter_context(dataset)
            return stack.pop_all(), dataset

    # To rasterio, an open file and its settings belong to the thread that opened it.
    with ThreadPoolExecutor(1) as thread:
        stack, dataset = thread.submit(open_dataset).result()
        try:
            yield GdalParts(dataset, indices, thread)
        finally:
            thread.submit(stack.close).result()


class GdalParts:
    """As `TiffParts`, for a `rasterio.DatasetReader` that was opened in `thread`."""

    def __init__(self, dataset: Any, indices: list[int], thread: ThreadPoolExecutor) -> None:
        self._dataset, self._thread = dataset, thread
        self._end = dataset.height
        height, width = dataset.block_shapes[0]
        self.block = (min(height, dataset.height), min(width, dataset.width))
        structure = thread.submit(dataset.tags, ns="IMAGE_STRUCTURE").result()
        if structure.get("SOURCE_COLOR_SPACE") in ("CIELAB", "CMYK") and dataset.driver == "GTiff":
            raise ValueError("its colours are not converted")
        self.inverted = structure.get("MINISWHITE") == "YES"  # for which GDAL makes up a palette
        self._palette = None if self.inverted else thread.submit(_palette, dataset).result()
        bits = int(thread.submit(dataset.tags, 1, ns="IMAGE_STRUCTURE").result().get("NBITS", 8))
        self._step = 255 // (2**bits - 1) if bits < 8 else 1
        self._bands = [index + 1 for index in indices] if self._palette is None else [1]

    def read(self, left: int, top: int, width: int, height: int) -> Shaped[np.ndarray, "h w b"]:
        """The values of a part. A damaged file may raise any exception."""
        if top + height > self._end:
            raise ValueError("the file is cut off")
        window = ((top, top + height), (left, left + width))
        try:
            values = self._thread.submit(self._dataset.read, self._bands, window=window).result()
        except Exception:
            if self._dataset.driver == "JPEG":  # GDAL complains of its end only once, and then gives grey
                self._end = top
            raise
        pixels: np.ndarray = np.moveaxis(values, 0, -1)
        if self._palette is not None:
            return self._palette[pixels[..., 0]]
        return pixels if self._step == 1 else pixels * np.uint8(self._step)


def _palette(dataset: Any) -> UInt8[np.ndarray, "256 3"] | None:
    try:
        colours = dataset.colormap(1)
    except ValueError:
        return None
    if dataset.dtypes[0] != "uint8":
        raise ValueError("it has a palette for more than eight bits")
    palette = np.zeros((256, 3), np.uint8)
    for index, colour in colours.items():
        palette[index] = colour[:3]
    return palette
