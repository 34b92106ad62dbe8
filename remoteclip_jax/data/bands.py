"""Which bands of an image are used, and notes on images of high bit depth or with many bands."""

import dataclasses

from remoteclip_jax.data.image_sources import ImageSource
from remoteclip_jax.data.images import ImageHeader, read_header
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.rasters import selected_bands
from remoteclip_jax.data.stretch import Percentiles
from remoteclip_jax.data.types import Bands, Dataset
from remoteclip_jax.errors import UserError

# Formats with at most three bands of eight bits each.
EIGHT_BIT_EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".gif")
STRETCH_NOTE = "those that use under half of their range are stretched from the 2nd to the 98th percentile"


def parse_bands(text: str) -> Bands:
    """The bands for red, green and blue from a text such as "3,2,1", or one band for grey. UserError for others."""
    try:
        bands = tuple(int(part) for part in text.split(","))
    except ValueError:
        bands = ()
    if len(bands) not in (1, 3) or min(bands) < 1:
        raise UserError(f"--bands={text}: write the numbers of three bands, counted from 1, such as 3,2,1, or of one")
    return bands


def parse_percentiles(text: str) -> Percentiles:
    """Two percentiles from a text such as "2,98". UserError for others."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not 0 <= low < high <= 100:
        raise UserError(f"--stretch={text}: write the percentiles that become black and white, such as 2,98")
    return low, high


def note_raster(
    header: ImageHeader, path: ImageSource, bands: Bands | None, notes: Notes, percentiles: Percentiles | None = None
) -> None:
    """Add to `notes` what the reader does to an image of high bit depth or with many bands."""
    if header.wide_type is not None:
        chosen = percentiles and "each band is stretched from percentile {:g} to {:g}".format(*percentiles)
        notes.add(f"images of {header.wide_type} values; {chosen or STRETCH_NOTE}", path)
    if header.bands > 3 or (header.bands > 1 and bands is not None):
        used = ", ".join(map(str, selected_bands(header.bands, bands)))
        notes.add(f"images of {header.bands} bands; bands {used} are used (see --bands)", path)


def with_bands(dataset: Dataset, bands: Bands | None) -> Dataset:
    """`dataset` with `bands` set, and notes on its images of high bit depth or with many bands.

    UserError if an image lacks one of the bands.
    """
    notes = Notes(dataset.split)
    for example in dataset.examples:
        if bands is not None or example.image.suffix.lower() not in EIGHT_BIT_EXTENSIONS:
            note_raster(read_header(example.image, bands), example.image, bands, notes)
    return dataclasses.replace(dataset, bands=bands, notes=(*dataset.notes, *notes.lines()))
