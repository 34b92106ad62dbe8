"""Detection in the user's image files: finding the files, and naming the results.

JAX is not imported, so that wrong paths are reported at once.
"""

import glob
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from remoteclip_jax import errors

if TYPE_CHECKING:
    from remoteclip_jax.data.notes import Notes


def find_images(pattern: str, notes: "Notes") -> list[Path]:
    """The images that a path or a glob pattern stands for, sorted. For a folder these are the files with the extension
    of an image; other files that may be images are added to `notes`. UserError if there are no images."""
    from remoteclip_jax.data.image_files import EXTENSIONS
    from remoteclip_jax.data.listing import image_paths, matching_paths, visible_entries

    path = Path(pattern)
    if path.is_dir():
        found = [match for match in image_paths(visible_entries(path), notes) if match.is_file()]
        problem = f"no image in this folder (looked for {', '.join(EXTENSIONS)})"
    else:
        matches = [path] if path.exists() else list(map(Path, matching_paths(path)))
        found = [match for match in matches if not match.is_dir()]
        problem = "no file matches this" if glob.has_magic(pattern) else "no such file"
    if not found:
        raise errors.UserError(f"--image={pattern}: {problem}")
    return found


def result_names(paths: list[Path], reserved: Collection[str] = ()) -> list[str]:
    """A unique name for the results of each image: its name without the extension, numbered if several share it, or if
    it is `reserved`."""
    stems = {path.stem for path in paths} | set(reserved)
    names: dict[str, None] = {}
    for path in paths:
        name, number = path.stem, 2
        while name in names or name in reserved or (name != path.stem and name in stems):
            name, number = f"{path.stem}-{number}", number + 1
        names[name] = None
    return list(names)


def check_output(output: Path, images: list[Path], names: list[str], *, text_files: bool = False) -> None:
    """UserError if `output` is a file, or if a picture written there would overwrite one of the images, or if one of
    the `text_files` might overwrite labels beside them."""
    if output.exists() and not output.is_dir():
        raise errors.UserError(f"--output={output} is a file, expected a folder")
    originals = {Path(os.path.realpath(path)) for path in images}  # Path.resolve raises for a link to itself
    for name in names:
        if Path(os.path.realpath(output / f"{name}.jpg")) in originals:
            raise errors.UserError(f"--output={output}: {name}.jpg there is one of the images; choose another folder")
    if text_files and output.resolve() in {path.parent for path in originals}:
        problem = ".txt files beside the images may be their labels; choose another folder"
        raise errors.UserError(f"--output={output}: {problem}")
