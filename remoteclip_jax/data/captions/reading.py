"""Reading images with captions: `--captions` names a file, a folder of such files, or a glob."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from remoteclip_jax.data.bands import with_bands
from remoteclip_jax.data.broken_images import ImageOpener
from remoteclip_jax.data.captions.json_files import read_caption_json
from remoteclip_jax.data.captions.records import CaptionRecord
from remoteclip_jax.data.formats.file_finder import FileFinder
from remoteclip_jax.data.splits import TRAIN, component_splits
from remoteclip_jax.data.types import Bands, Dataset, Example
from remoteclip_jax.errors import UserError


def caption_splits(source: Path) -> tuple[str, ...]:
    """The splits that `source` has, by its own names for them; "train" if nothing says a split."""
    return _names(read_caption_json(source, None).records)


def read_captions(
    source: Path, split: str, data_dir: Path | None = None, *, bands: Bands | None = None, skip_broken: bool = False
) -> Dataset:
    """One split of the images with captions in `source`."""
    content = read_caption_json(source, None)
    root = source.parent if data_dir is None else data_dir
    components = component_splits(split, _names(content.records))
    if not components:
        known = ", ".join(_names(content.records))
        raise UserError(f"{source} has no split {split!r}; it has {known}: name one of these")
    finder, images, examples = FileFinder(root), ImageOpener(skip_broken), []
    for record in content.records:
        captions = tuple(filter(None, map(str.strip, record.captions)))
        if (record.split or TRAIN) not in components or not captions:
            continue
        image = finder.find(record.name, [root, root / "images", root / "RSICD_images"])
        if image is None:
            images.reject(record.name, UserError(f"{source}: there is no image {record.name!r} in {root}"))
        elif (header := images.header(image)) is not None:
            boxes, labels = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
            examples.append(Example(image, *header.size, boxes, labels, captions=captions))
    dataset = Dataset(split, (), tuple(examples), has_boxes=False)
    dataset = dataclasses.replace(
        images.readable(dataset), layout=content.layout, source_split="+".join(components)
    )
    return with_bands(dataset, bands)


def _names(records: Sequence[CaptionRecord]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(record.split or TRAIN for record in records))
