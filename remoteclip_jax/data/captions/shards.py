"""Captions in tar shards, in WebDataset's layout: `000001.jpg` with `000001.txt`, or with `000001.json`.

A shard's headers are read once, with the standard library. An image is then read by its place in the shard, so that any
order of the samples is as good as theirs, and nothing is unpacked.
"""

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from remoteclip_jax.data.captions.records import CaptionFile, CaptionRecord
from remoteclip_jax.data.image_files import EXTENSIONS
from remoteclip_jax.data.image_sources import TarMember
from remoteclip_jax.errors import UserError

CAPTION_KEYS = ("caption", "txt")  # of the JSON of a sample
# WebDataset's rule: a sample's key ends with the first dot of the last part of the path.
_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)")

Sample = dict[str, TarMember]  # by extension, without its dot and in lower case


def read_shard(path: Path, split: str | None, skip_broken: bool) -> CaptionFile:
    """The images and captions in a shard.

    Files without an extension and hidden ones are passed over. UserError, naming the shard and its member, if it is no
    tar archive, if a name occurs twice, or if a caption cannot be read; and if the shard is cut short, unless
    `skip_broken` takes the samples that are whole.
    """
    try:
        with path.open("rb") as file:
            samples, is_whole = _samples(path, file)
            captions = {key: _captions(file, sample) for key, sample in samples.items()}
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None
    images = {key: _image(sample) for key, sample in samples.items()}
    notes: tuple[str, ...] = ()
    if not is_whole:
        last = next(reversed(samples), None)
        if last is not None and (images[last] is None or not captions[last]):  # its other file lay beyond the cut
            del samples[last]
        count = sum(images[key] is not None and bool(captions[key]) for key in samples)
        if not skip_broken:
            raise UserError(
                f"{path}: is cut short: {count} of its samples are whole; download it again (--skip_broken uses these)"
            )
        notes = (f"{path.name} is cut short: the {count} samples that are whole are used",)
    records = (CaptionRecord(path, f"sample {key!r}", key, captions[key], split, images[key]) for key in samples)
    return CaptionFile("captions in tar shards", tuple(records), notes)


def _samples(path: Path, file: BinaryIO) -> tuple[dict[str, Sample], bool]:
    """The members that lie in the file completely, by sample; and whether the archive is whole."""
    samples: dict[str, Sample] = {}
    size = file.seek(0, 2)
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in _members(tar):
                match = _NAME.fullmatch(member.name)
                if member.offset_data + member.size > size or not member.isreg() or match is None:
                    continue
                sample, extension = samples.setdefault(match[1], {}), match[2].lower()
                if extension in sample:
                    raise UserError(f"{path}: two members are called {member.name!r}; make the shard again")
                sample[extension] = TarMember(path, member.name, member.offset_data, member.size)
            file.seek(tar.offset)
            is_whole = file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)  # the mark of the end
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as e:
        if not samples:
            raise UserError(f"{path}: not a tar archive, or a damaged one ({e}); copy or download it again") from None
        is_whole = False
    return samples, is_whole


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members in order. `tarfile.ReadError` if their places are impossible: a damaged header may lead backwards."""
    end = 0
    for member in tar:
        if member.size < 0 or member.offset_data <= end:
            raise tarfile.ReadError("a header leads backwards")
        end = member.offset_data
        yield member


def _image(sample: Sample) -> TarMember | None:
    return next((member for extension, member in sample.items() if f".{extension}" in EXTENSIONS), None)


def _captions(file: BinaryIO, sample: Sample) -> tuple[str, ...]:
    """The captions of a sample: its text, or else those in its JSON."""
    member = sample.get("txt") or sample.get("json")
    if member is None:
        return ()
    file.seek(member.offset)
    try:
        text = file.read(member.size).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{member}: not a text in UTF-8; make the shard again") from None
    if "txt" in sample:
        return (text,)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise UserError(f"{member}: broken JSON ({e}); make the shard again") from None
    return _json_captions(member, content)


def _json_captions(member: TarMember, content: Any) -> tuple[str, ...]:
    values = [content[key] for key in CAPTION_KEYS if key in content] if isinstance(content, dict) else []
    found = values[0] if values else None
    captions = found if isinstance(found, list) else [] if found is None else [found]
    for caption in captions:
        if not isinstance(caption, str):
            raise UserError(f"{member}: the caption {str(caption)[:40]!r} is not a text; make the shard again")
    return tuple(captions)
