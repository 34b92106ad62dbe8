"""The images that a path, a pattern, a list or a URL stands for, by name. No file is opened: there may be a million."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from remoteclip_jax.data.image_files import EXTENSIONS, is_image_name
from remoteclip_jax.data.listing import image_paths, matching_paths, read_list
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.errors import UserError

from .remote import is_url, remote_files

LOOKED_AT = 100  # of a list: if none of so many files exists, the list is for another working directory


def find_images(images: str, recursive: bool, notes: Notes) -> list[str]:
    """The names of all images, each once, in an order that is the same every time: absolute paths, or URLs.

    `images` is a folder, with all of its subfolders if `recursive` (links are followed); a pattern; a file `.txt` with
    a path or a URL a line, where paths are relative to the working directory; an image; or a URL of a folder, a pattern
    or a file. `notes` say what was left out. UserError if there are no images.
    """
    path = Path(images)
    if is_url(images):
        names: Iterable[str] = _remote_images(images, recursive, notes)
        problem = f"no image there (looked for {', '.join(EXTENSIONS)})"
    elif path.is_dir():
        names = _images_in(path, recursive, notes)
        problem = f"no image in this folder (looked for {', '.join(EXTENSIONS)})"
    elif path.suffix.lower() == ".txt" and path.is_file():
        names, problem = _listed_images(path), "this list is empty; write a path a line"
    else:
        matches = [images] if path.exists() else matching_paths(path)
        names = [match for match in matches if not os.path.isdir(match)]
        problem = "no file matches this" if glob.has_magic(images) else "no such file"
    found: dict[str, None] = {}
    for name in names:
        name = name if is_url(name) else os.path.abspath(name)
        if name in found:
            notes.add("images listed more than once, and predicted once", name)
        found[name] = None
    if not found:
        raise UserError(f"--images={images}: {problem}")
    return list(found)


def _images_in(folder: Path, recursive: bool, notes: Notes) -> Iterator[str]:
    def unreadable(error: OSError) -> None:
        notes.add(f"folders left out: {error.strerror}", str(error.filename))

    seen: set[tuple[int, int]] = set()  # a link may lead back to a folder that contains it
    for directory, subfolders, files in os.walk(folder, followlinks=True, onerror=unreadable):
        state = os.stat(directory)
        if (state.st_dev, state.st_ino) in seen:
            subfolders.clear()
            notes.add("folders left out: links to others that were read", directory)
            continue
        seen.add((state.st_dev, state.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield from map(str, image_paths([Path(directory, name)], notes))
        if not recursive:
            notes.add("subfolders left out (--norecursive)", str(folder), len(subfolders))
            subfolders.clear()


def _remote_images(url: str, recursive: bool, notes: Notes) -> Iterator[str]:
    for name in remote_files(url, recursive):
        if is_image_name(Path(PurePosixPath(name).name)):
            yield name
        else:
            notes.add("files left out: not the name of an image", name)


def _listed_images(path: Path) -> list[str]:
    """The lines of a list, without blank ones."""
    lines = (line.rstrip("\r") for line in read_list(path).split("\n"))
    names = [os.path.expanduser(line) for line in lines if line.strip()]
    first = names[:LOOKED_AT]
    if first and not any(is_url(name) or os.path.exists(name) for name in first):
        raise UserError(
            f"{path}: {first[0]!r} does not exist, nor does any other of the first {len(first)} paths; relative paths "
            f"are looked for in the working directory, {os.getcwd()}: start the command where they begin"
        )
    return names
