"""Which bands of an image are seen, and what is told of those that are deep or have many."""

import dataclasses
from pathlib import Path

from remoteclip_jax.data.deep import Bands, choose_bands
from remoteclip_jax.data.images import Header, read_header
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError

SHALLOW = (".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".gif")  # bytes of three bands at most
STRETCHED = "of which those that use under half of their range are stretched from the 2nd to the 98th percentile"


def parse_bands(text: str) -> Bands:
    """The bands of red, green and blue from a text such as "3,2,1", or the one of grey. UserError for anything else."""
    try:
        bands = tuple(int(part) for part in text.split(","))
    except ValueError:
        bands = ()
    if len(bands) not in (1, 3) or min(bands) < 1:
        raise UserError(f"--bands={text}: write the numbers of three bands, counted from 1, such as 3,2,1, or of one")
    return bands


def note_depth(header: Header, path: Path, bands: Bands | None, notes: Notes) -> None:
    """Say what a reader does to an image that is no ordinary picture."""
    if header.deep is not None:
        notes.add(f"images of {header.deep} values, {STRETCHED}", path)
    if header.bands > 3 or (header.bands > 1 and bands is not None):
        shown = ", ".join(map(str, choose_bands(header.bands, bands)))
        notes.add(f"images of {header.bands} bands, of which {shown} are seen (see --bands)", path)


def with_bands(dataset: Dataset, bands: Bands | None) -> Dataset:
    """`dataset` seen through `bands`, with a note on those of its images that are deep or have many. UserError for an
    image that has no such band."""
    notes = Notes(dataset.split)
    for example in dataset.examples:
        if bands is not None or example.image.suffix.lower() not in SHALLOW:
            note_depth(read_header(example.image, bands), example.image, bands, notes)
    return dataclasses.replace(dataset, bands=bands, notes=(*dataset.notes, *notes.lines()))
