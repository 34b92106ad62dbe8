"""Reading images with captions: `--captions` names a file, a folder of such files, or a glob."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from remoteclip_jax.data.bands import with_bands
from remoteclip_jax.data.broken_images import ImageOpener
from remoteclip_jax.data.captions.json_files import read_caption_json
from remoteclip_jax.data.captions.locating import ImageLocator
from remoteclip_jax.data.captions.records import CaptionFile, CaptionRecord
from remoteclip_jax.data.captions.shards import read_shard
from remoteclip_jax.data.captions.sources import Kind, caption_files, split_in_name
from remoteclip_jax.data.captions.tables import read_caption_table
from remoteclip_jax.data.image_sources import ImageSource, source_key
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.reading import EmptySplitError
from remoteclip_jax.data.splits import TRAIN, component_splits
from remoteclip_jax.data.types import Bands, Dataset, Example
from remoteclip_jax.errors import UserError

Located = tuple[CaptionRecord, ImageSource]


def caption_splits(source: Path) -> tuple[str, ...]:
    """The splits that `source` has, by its own names for them; "train" if nothing says a split.

    A record's own split counts, or else the one in the name of its file. UserError as from `read_captions`.
    """
    files, kind = caption_files(source)
    if kind is Kind.SHARD:  # whose names say all; reading their headers takes time
        return tuple(dict.fromkeys(split_in_name(file) or TRAIN for file in files))
    return tuple(dict.fromkeys(_split(record) for file in files for record in _content(file, kind, False).records))


def read_captions(
    source: Path, split: str, data_dir: Path | None = None, *, bands: Bands | None = None, skip_broken: bool = False
) -> Dataset:
    """One split of the images with captions in `source`: a file, or a folder or a glob of several of one kind.

    The formats are RSICD's JSON, COCO's JSON, CSV or TSV, and tar shards (docs/captions.md). Paths of images are
    relative to `data_dir`, or else to the folder of the file; `ImageLocator` says where else they are looked for.
    `split` may be a synonym of the data's own name, or join several with `+`, as for `read_dataset`. The examples have
    captions and no objects; every image's header is read. With `skip_broken`, missing images and those that cannot be
    read are left out, counted and named; all images are decoded to find them.

    UserError, naming the file, for anything missing or broken, and for a split that is not there or has no caption.
    """
    files, kind = caption_files(source)
    root = _root(files[0], data_dir)
    components = _components(source, split)
    if kind is Kind.SHARD:
        files = tuple(file for file in files if (split_in_name(file) or TRAIN) in components)
    contents = [_content(file, kind, skip_broken and kind is Kind.SHARD) for file in files]
    notes, images = Notes(split), ImageOpener(skip_broken)
    remarks = [f"{split}: {note}" for content in contents for note in content.notes]
    records = [record for content in contents for record in content.records if _split(record) in components]
    if not any(record.split for record in records):
        remarks.append(f"{split}: nothing in {source} says a split, so all images are read as {split!r}")
    captioned = [clean for record in records if (clean := _with_clean_captions(record, notes)) is not None]
    located = _located(source, captioned, None if kind is Kind.SHARD else root, images)
    examples = _examples(located, images, notes)
    dataset = Dataset(
        split,
        (),
        examples,
        has_boxes=False,
        notes=(*remarks, *notes.lines()),
        layout=contents[0].layout,
        source_split="+".join(components),
    )
    dataset = images.readable(dataset)
    if not len(dataset):
        raise EmptySplitError(f"{source}: no image of the split {split!r} has a caption")
    return with_bands(dataset, bands)


def _root(file: Path, data_dir: Path | None) -> Path:
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(
            f"{data_dir}: {'a file; name the folder of the images' if data_dir.exists() else 'no such folder'}"
        )
    return file.parent if data_dir is None else data_dir


def _split(record: CaptionRecord) -> str:
    return record.split or TRAIN


def _components(source: Path, split: str) -> tuple[str, ...]:
    """The splits of `source` that make up `split`, by its own names. UserError if one is missing."""
    known = caption_splits(source)
    if not known:
        raise UserError(f"{source}: there is no image in it")
    try:
        components = component_splits(split, known)
    except UserError as e:
        raise UserError(f"{source}: {e}") from None
    if not components:
        raise UserError(f"{source} has no split {split!r}; it has {', '.join(known)}: name one of these")
    return components


def _content(file: Path, kind: Kind, skip_broken: bool) -> CaptionFile:
    status = file.stat()
    return _read(file, kind, skip_broken, (status.st_mtime_ns, status.st_size))


@functools.lru_cache(maxsize=16)  # several splits are read from one file, which may be large
def _read(file: Path, kind: Kind, skip_broken: bool, _state: tuple[int, int]) -> CaptionFile:
    split = split_in_name(file)
    if kind is Kind.SHARD:
        return read_shard(file, split, skip_broken)
    return (read_caption_json if kind is Kind.JSON else read_caption_table)(file, split)


def forget_files() -> None:
    """Free the content of files that were read, which are kept for their other splits."""
    _read.cache_clear()


def _with_clean_captions(record: CaptionRecord, notes: Notes) -> CaptionRecord | None:
    """`record` with its captions stripped and without blank ones; None if none is left."""
    captions = tuple(filter(None, map(str.strip, record.captions)))
    where = f"{record.file.name}, {record.where}"
    notes.add("blank captions dropped", where, len(record.captions) - len(captions))
    if not captions:
        notes.add("images without a caption skipped", where)
        return None
    return CaptionRecord(record.file, record.where, record.name, captions, record.split, record.member)


def _located(source: Path, records: Sequence[CaptionRecord], root: Path | None, images: ImageOpener) -> list[Located]:
    """The records with their images, which lie in the shards if `root` is None. Missing ones are an error that counts
    them, or are skipped."""
    locator = None if root is None else ImageLocator(root)
    pairs = [(record, record.member if locator is None else locator.find(record)) for record in records]
    missing = [record for record, image in pairs if image is None]
    for record in missing:
        where = "the shard; make it again" if root is None else f"{root}; name the folder of the images with --data_dir"
        images.reject(
            f"{record.file.name}: {record.name}" if root is None else record.name,
            UserError(
                f"{source}: {len(missing)} of {len(records)} captioned images are missing, the first of them "
                f"{record.name!r} ({record.file.name}, {record.where}), which is not in {where}"
            ),
        )
    return [(record, image) for record, image in pairs if image is not None]


def _examples(located: Sequence[Located], images: ImageOpener, notes: Notes) -> tuple[Example, ...]:
    """The examples, one for each image."""
    found: dict[tuple[str, int], tuple[ImageSource, tuple[int, int], list[str]]] = {}
    for record, image in located:
        key = source_key(image)
        if key in found:
            notes.add("images listed again, whose captions are joined", f"{record.file.name}, {record.where}")
            found[key][2].extend(record.captions)
        elif (header := images.header(image)) is not None:
            found[key] = (image, header.size, list(record.captions))
    boxes, labels = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
    return tuple(
        Example(image, *size, boxes, labels, captions=tuple(captions)) for image, size, captions in found.values()
    )
