"""Splits as lists of image names, one a line, as VOC and DIOR have them; without any, all images are one split."""

from pathlib import Path

from remoteclip_jax.data.listing import read_stems, same_name
from remoteclip_jax.data.splits import TRAIN, TRAINVAL, VAL, role
from remoteclip_jax.errors import UserError

DIRECTORIES = ("splits", "ImageSets/Main", "Main", "ImageSets")
ORDER = (TRAIN, VAL, TRAINVAL, "test")


def split_lists(data_dir: Path) -> dict[str, tuple[Path, ...]]:
    """The files that list each split; `trainval` is made of `train` and `val` where it has no list of its own."""
    lists: dict[str, tuple[Path, ...]] = {}
    for directory in DIRECTORIES:
        for path in sorted((data_dir / directory).glob("*.txt")):
            if path.is_file() and not path.name.startswith(".") and not _of_one_class(path.stem):
                lists.setdefault(path.stem, (path,))
    if TRAIN in lists and VAL in lists:
        lists.setdefault(TRAINVAL, (*lists[TRAIN], *lists[VAL]))
    usual = [name for name in ORDER if name in lists]
    return {name: lists[name] for name in (*usual, *(name for name in lists if name not in usual))}


def _of_one_class(name: str) -> bool:
    """Whether the list says which images show a class, as VOC's `airplane_train.txt` does; or is none of images."""
    head, _, tail = name.rpartition("_")
    return bool(head and role(tail)) or name in ("classes", "labels")


def read_lists(files: tuple[Path, ...]) -> list[tuple[Path, str]]:
    """Pairs of a list and an image name in it. UserError where two lists share a name."""
    stems = [(file, stem) for file in files for stem in read_stems(file)]
    seen: dict[str, Path] = {}
    for file, stem in stems:
        if seen.setdefault(same_name(stem), file) != file:
            raise UserError(f"{file}: {stem!r} stands in {seen[same_name(stem)]} too")
    return stems
