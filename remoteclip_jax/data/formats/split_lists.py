"""Splits as lists of image names, one per line, as in VOC and DIOR."""

from pathlib import Path

from remoteclip_jax.data.listing import name_key, read_stems
from remoteclip_jax.data.splits import TRAIN, TRAINVAL, VAL, split_role
from remoteclip_jax.errors import UserError

DIRECTORIES = ("splits", "ImageSets/Main", "Main", "ImageSets")
ORDER = (TRAIN, VAL, TRAINVAL, "test")


def split_lists(data_dir: Path) -> dict[str, tuple[Path, ...]]:
    """The files that list each split. `trainval` is `train` and `val` if it has no list of its own."""
    lists: dict[str, tuple[Path, ...]] = {}
    for directory in DIRECTORIES:
        for path in sorted((data_dir / directory).glob("*.txt")):
            if path.is_file() and not path.name.startswith(".") and is_split_name(path.stem):
                lists.setdefault(path.stem, (path,))
    if TRAIN in lists and VAL in lists:
        lists.setdefault(TRAINVAL, (*lists[TRAIN], *lists[VAL]))
    usual = [name for name in ORDER if name in lists]
    return {name: lists[name] for name in (*usual, *(name for name in lists if name not in usual))}


def is_split_name(name: str) -> bool:
    """Whether a list called `name` is that of a split. Lists of the images of a class, such as VOC's
    `airplane_train.txt`, are not, and lists of classes are not."""
    head, _, tail = name.rpartition("_")
    return not (head and split_role(tail)) and name not in ("classes", "labels")


def read_split_lists(files: tuple[Path, ...]) -> list[tuple[Path, str]]:
    """Pairs of a list and an image name in it. UserError if two lists share a name."""
    stems = [(file, stem) for file in files for stem in read_stems(file)]
    seen: dict[str, Path] = {}
    for file, stem in stems:
        if seen.setdefault(name_key(stem), file) != file:
            raise UserError(f"{file}: {stem!r} is in {seen[name_key(stem)]} too")
    return stems
