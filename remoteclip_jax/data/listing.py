"""What a data directory contains: image files by name, what is skipped among them, and lists of splits."""

import glob
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from remoteclip_jax.data.image_files import EXTENSIONS, is_image_name
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.errors import UserError

# Files that are often found beside images. Skipping them needs no note.
COMPANION_EXTENSIONS = frozenset(
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


def name_key(name: str) -> str:
    """The same for all spellings of a name: "é" may be one character in a list, and two on a disk written by a Mac."""
    return unicodedata.normalize("NFC", name)


def visible_entries(directory: Path) -> list[Path]:
    """The entries of `directory` in order, without hidden ones (`._a.jpg`, `.DS_Store`). Empty if it does not exist."""
    found = sorted(directory.iterdir()) if directory.is_dir() else []
    return [path for path in found if not path.name.startswith(".")]


def subdirectories(directory: Path) -> list[Path]:
    """The visible subdirectories of `directory`, in order."""
    return [path for path in visible_entries(directory) if path.is_dir()]


def image_paths(paths: Iterable[Path], notes: Notes) -> list[Path]:
    """The paths with the name of an image. Those that may be images of an unsupported format are noted."""
    images = []
    for path in paths:
        if is_image_name(path):
            images.append(path)
        elif path.suffix.lower() not in COMPANION_EXTENSIONS and path.is_file():
            kind = f"{path.suffix.lower()} files" if path.suffix else "files without extension"
            notes.add(f"{kind} skipped: not a supported image format", path)
    return images


def matching_paths(pattern: Path) -> list[str]:
    """What a glob pattern matches, in order; `**` stands for folders at any depth. A folder of exactly the name that
    the pattern has for it, such as `photos [1]`, is taken by its name."""
    folder = str(pattern.parent)
    literal = Path(glob.escape(folder) if pattern.parent.is_dir() else folder, pattern.name)
    return sorted(set(glob.glob(str(literal), recursive=True)))


def images_by_stem(directories: Iterable[Path], notes: Notes) -> dict[str, Path]:
    """The images in `directories` by the `name_key` of their names without extension. Links are followed.

    If several share a name, the first is used, and this is noted.
    """
    found: dict[str, Path] = {}
    for directory in directories:
        for path in image_paths(visible_entries(directory), notes):
            first = found.setdefault(name_key(path.stem), path)
            if first != path:
                notes.add(f"images skipped in favour of others of the same name, such as {first.name}", path)
    return found


def read_list(path: Path) -> str:
    """The text of a file of names. Those that are not UTF-8 are kept byte for byte, as file names are. UserError if it
    cannot be read, or is in UTF-16."""
    try:
        content = path.read_bytes()
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path}: not a text file in UTF-8, but in UTF-16; save it as UTF-8")
    return content.decode("utf-8-sig", "surrogateescape")


def read_stems(path: Path) -> list[str]:
    """The image names in a split file, in order, without directories or extensions. Blank lines are skipped.

    UserError if the file is not a list (see `read_list`), or a name leads out of the data directory or occurs twice.
    """
    stems = []
    for line in read_list(path).splitlines():
        name = PurePosixPath(line.strip().replace("\\", "/"))
        if not name.name:
            continue
        if name.is_absolute() or ".." in name.parts:
            raise UserError(
                f"{path}: {line.strip()!r} leads out of the data directory; expected one image name per line"
            )
        stems.append(name.name[: -len(name.suffix)] if name.suffix.lower() in EXTENSIONS else name.name)
    for stem, count in Counter(map(name_key, stems)).items():
        if count > 1:
            raise UserError(f"{path}: {stem!r} occurs {count} times; keep one")
    return stems
