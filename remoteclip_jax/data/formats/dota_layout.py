"""Finding the images and the label files of DOTA, as its archives unpack and as tools that tile it write it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from remoteclip_jax.data.formats.file_finder import visible_files
from remoteclip_jax.data.image_files import is_image_name
from remoteclip_jax.data.listing import subdirectories, visible_entries
from remoteclip_jax.data.splits import ALL, split_role

TILED = "annfiles"  # as mmrotate's split tool calls it
_UPRIGHT = re.compile(r"hbb|reclabel|task2", re.IGNORECASE)  # in the names of folders with DOTA's own upright boxes


@dataclass(frozen=True)
class DotaSplit:
    """Where the files of a split are. Images may lie deeper below `images`; labels lie in the folder `labels` itself.
    `unused` are folders with other labels of the same images."""

    images: Path
    labels: Path
    unused: tuple[Path, ...] = ()


def dota_layout(data_dir: Path) -> dict[str, DotaSplit]:
    """The splits of `data_dir`; empty if it has no DOTA data.

    A split is a folder with images and labels, or a folder of a split's name inside both `images` and the labels. Or
    all of `data_dir` is one split.
    """
    splits = {path.name: split for path in subdirectories(data_dir) if (split := _split(path / "images", path, path))}
    if not splits:
        for images in subdirectories(data_dir / "images"):
            if split_role(images.name) and (split := _split(images, data_dir, data_dir, images.name)):
                splits[images.name] = split
    if not splits and (whole := _split(data_dir / "images", data_dir, None)):
        splits = {ALL: whole}
    return splits


def _split(images: Path, parent: Path, fallback: Path | None, below: str = "") -> DotaSplit | None:
    """The split of `images` with the labels in `parent`: in a folder `below` in each label folder, if that is given. If
    there is no folder `images`, images are those anywhere in `fallback`."""
    folders = [folder for label_root in _label_roots(parent) for folder in _text_folders(label_root / below)]
    if not images.is_dir():
        images = fallback or images
    if not folders or not any(is_image_name(path) for path in visible_files(images)):
        return None
    oriented = [folder for folder in folders if not _UPRIGHT.search(folder.relative_to(parent).as_posix())]
    chosen = max(oriented or folders, key=lambda folder: _version(folder.relative_to(parent).as_posix()))
    return DotaSplit(images, chosen, tuple(folder for folder in folders if folder != chosen))


def _label_roots(parent: Path) -> list[Path]:
    """`labelTxt`, `labelTxt-v1.0`, `labelTxt-v1.5`, `annfiles`, …"""
    return [path for path in subdirectories(parent) if _is_label_root(path.name)]


def _is_label_root(name: str) -> bool:
    return name.casefold().startswith("labeltxt") or name == TILED


def _text_folders(root: Path) -> Iterator[Path]:
    """`root` and the folders below it that hold text files."""
    if any(path.suffix == ".txt" for path in visible_entries(root)):
        yield root
    for path in subdirectories(root):
        if not path.is_symlink():  # which may lead back
            yield from _text_folders(path)


def label_root_name(split: DotaSplit, data_dir: Path) -> str:
    """The name of the label folder, which says the version: `labelTxt-v1.5`."""
    parts = split.labels.relative_to(data_dir).parts
    return next(name for name in parts if _is_label_root(name))


def _version(folder: str) -> tuple[list[int], str]:
    """For the order of the label folders of a split: version 1.5 has more complete labels than 1.0."""
    versions = re.findall(r"v(\d+)\.(\d+)", folder)
    return [int(number) for number in versions[-1]] if versions else [], folder
