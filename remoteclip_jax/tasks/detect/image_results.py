"""Detection in the user's image files: finding the files, naming the results, writing them.

JAX is imported only where it is needed, so that wrong paths are reported at once.
"""

import collections
import glob
import json
from pathlib import Path
from typing import TYPE_CHECKING

from remoteclip_jax import errors

if TYPE_CHECKING:
    from PIL import Image

    from remoteclip_jax.data.notes import Notes
    from remoteclip_jax.detector.detections import Detections


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


def result_names(paths: list[Path]) -> list[str]:
    """A unique name for the results of each image: its name without the extension, numbered if several share it."""
    stems = {path.stem for path in paths}
    names: dict[str, None] = {}
    for path in paths:
        name, number = path.stem, 2
        while name in names or (name != path.stem and name in stems):
            name, number = f"{path.stem}-{number}", number + 1
        names[name] = None
    return list(names)


def check_output(output: Path, images: list[Path], names: list[str]) -> None:
    """UserError if `output` is a file, or if a picture written there would overwrite one of the images."""
    if output.exists() and not output.is_dir():
        raise errors.UserError(f"--output={output} is a file, expected a folder")
    originals = {path.resolve() for path in images}
    for name in names:
        if (output / f"{name}.jpg").resolve() in originals:
            raise errors.UserError(f"--output={output}: {name}.jpg there is one of the images; choose another folder")


def write_result(
    output: Path, image: Path, size: tuple[int, int], picture: "Image.Image", found: "Detections"
) -> collections.Counter[str]:
    """Write OUTPUT.json and OUTPUT.jpg for the file `image`, of `size` (width, height) in pixels, to which the boxes
    of `found` refer. `picture` is that image, perhaps reduced. Returns the number of objects found, by class name."""
    from remoteclip_jax.evaluation.draw import draw
    from remoteclip_jax.files.writing import write_atomically

    width, height = size
    drawn = draw(picture, found.scaled(picture.width / width))
    content = {"image": str(image), "width": width, "height": height, "detections": found.to_json()}
    write_atomically(output.with_name(output.name + ".jpg"), lambda file: drawn.save(file, "JPEG", quality=90))
    write_atomically(output.with_name(output.name + ".json"), json.dumps(content, indent=2) + "\n")
    return collections.Counter(found.classes[label] for label in found.labels)
