"""The files that `--captions` names, what kind they are of, and the split that a file's name says."""

import re
from enum import Enum
from pathlib import Path

from remoteclip_jax.data.listing import matching_paths, visible_entries
from remoteclip_jax.data.splits import split_role
from remoteclip_jax.errors import UserError

EXPECTED = "a JSON file (RSICD's layout or COCO's), a CSV or TSV file, or tar shards"


class Kind(Enum):
    """Kinds of caption files."""

    JSON = "json"
    TABLE = "table"
    SHARD = "tar"


_KINDS = {".json": Kind.JSON, ".csv": Kind.TABLE, ".tsv": Kind.TABLE, ".tar": Kind.SHARD}
# The first bytes of compressed files, and what unpacks them.
_COMPRESSED = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ\0": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
    b"PK\x03\x04": "unzip",
}
_WORD = re.compile(r"[^-_. ]+")


def caption_files(source: Path) -> tuple[tuple[Path, ...], Kind]:
    """The caption files that `source` names, in order, and their kind. UserError if there are none, if they are of
    several kinds, or compressed."""
    if source.is_dir():
        files = _files_in(source)
    else:
        found = [source] if source.exists() else map(Path, matching_paths(source))
        files = [path for path in found if path.is_file()]
    if not files:
        what = "no caption file in this folder" if source.is_dir() else "no such file"
        raise UserError(f"{source}: {what}; --captions takes {EXPECTED}")
    kinds = {path: _kind(path) for path in files}
    first = kinds[files[0]]
    other = next((path for path in files if kinds[path] is not first), None)
    if other is not None:
        raise UserError(f"{source}: {files[0].name} and {other.name} are of different kinds; name one kind of files")
    return tuple(files), first


def caption_folder(source: Path) -> Path:
    """The folder of the caption files that `source` names, to which the paths of images are relative. UserError as from
    `caption_files`."""
    return caption_files(source)[0][0].parent


def split_in_name(path: Path) -> str | None:
    """The split that the name of a caption file says, as written there: `train2017` of `captions_train2017.json`."""
    return next((word for word in _WORD.findall(path.stem) if split_role(word)), None)


def _files_in(folder: Path) -> list[Path]:
    """The caption files in a folder. Beside shards, JSON files are statistics; beside COCO's captions, they are
    annotations of other kinds."""
    files = [path for path in visible_entries(folder) if path.suffix.lower() in _KINDS and path.is_file()]
    shards = [path for path in files if _KINDS[path.suffix.lower()] is Kind.SHARD]
    return shards or [path for path in files if path.match("captions_*.json")] or files


def _kind(path: Path) -> Kind:
    """The kind of a file, by its content where its suffix does not say it."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None
    if not start:
        raise UserError(f"{path}: the file is empty; copy or download it again")
    for signature, command in _COMPRESSED.items():
        if start.startswith(signature):
            raise UserError(f"{path}: is compressed, so that it cannot be read at random; unpack it with `{command}`")
    if path.suffix.lower() in _KINDS:
        return _KINDS[path.suffix.lower()]
    if start[257:262] == b"ustar":
        return Kind.SHARD
    return Kind.JSON if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[") else Kind.TABLE
