"""What lies in a data directory: image files by name, what is passed over among them, and the lists of splits."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from remoteclip_jax.data.image_files import EXTENSIONS, is_image_name
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.errors import UserError

# What lies beside images without being any, so that nobody misses it.
COMPANIONS = frozenset(
    (
        ".txt",
        ".xml",
        ".json",
        ".jsonl",
        ".csv",
        ".tsv",
        ".yaml",
        ".yml",
        ".md",
        ".html",
        ".log",
        ".py",
        ".sh",
        ".zip",
        ".gz",
        ".tar",
        ".tfw",
        ".jgw",
        ".pgw",
        ".wld",
        ".prj",
        ".ovr",
        ".rpb",
        ".imd",
        ".geojson",
        ".shp",
        ".shx",
        ".dbf",
        ".cpg",
        ".db",
        ".ini",
        ".lnk",
        ".part",
        ".names",
        ".cache",
        ".npy",
        ".npz",
        ".pkl",
    )
)


def same_name(name: str) -> str:
    """What makes two spellings one name: "é" is one character in a list and two on a disk that came from a Mac."""
    return unicodedata.normalize("NFC", name)


def visible(directory: Path) -> list[Path]:
    """What is in `directory`, in order, less what systems leave behind there (`._a.jpg`, `.DS_Store`); nothing where
    there is no such directory."""
    found = sorted(directory.iterdir()) if directory.is_dir() else []
    return [path for path in found if not path.name.startswith(".")]


def images_of(paths: Iterable[Path], notes: Notes) -> list[Path]:
    """The images among `paths`, by their names; what might be one of a kind that cannot be read is noted."""
    images = []
    for path in paths:
        if is_image_name(path):
            images.append(path)
        elif path.suffix.lower() not in COMPANIONS and path.is_file():
            kind = f"{path.suffix.lower()} files" if path.suffix else "files without extension"
            notes.add(f"{kind} passed over, for that is no kind of image that can be read", path)
    return images


def images_by_stem(directories: Iterable[Path], notes: Notes) -> dict[str, Path]:
    """The images in `directories` by `same_name` of their names without extension; links are followed. Of several that
    share a name the first is taken, which is noted."""
    found: dict[str, Path] = {}
    for directory in directories:
        for path in images_of(visible(directory), notes):
            first = found.setdefault(same_name(path.stem), path)
            if first != path:
                notes.add(f"images passed over for others of the same name, such as {first.name}", path)
    return found


def read_stems(path: Path) -> list[str]:
    """The image names of a split file, without directories or extensions, in order; blank lines are skipped.

    Names that are no UTF-8 are taken as they stand on the disk. UserError where the file is no list, where a name
    points out of the data directory, or stands there twice.
    """
    try:
        content = path.read_bytes()
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path}: not a text file in UTF-8, but in UTF-16; save it anew")
    stems = []
    for line in content.decode("utf-8-sig", "surrogateescape").splitlines():
        name = PurePosixPath(line.strip().replace("\\", "/"))
        if not name.name:
            continue
        if name.is_absolute() or ".." in name.parts:
            raise UserError(f"{path}: {line.strip()!r} is a path out of the data; expected one image name a line")
        stems.append(name.name[: -len(name.suffix)] if name.suffix.lower() in EXTENSIONS else name.name)
    for stem, count in Counter(map(same_name, stems)).items():
        if count > 1:
            raise UserError(f"{path}: {stem!r} stands there {count} times; leave one")
    return stems
