"""Images by the name that a user gives, and what is found in each as files; JAX is loaded when it is needed."""

import collections
import glob
import json
from pathlib import Path
from typing import TYPE_CHECKING

from remoteclip_jax import errors

if TYPE_CHECKING:
    from remoteclip_jax.clip.text_embeddings import TextEmbeddings
    from remoteclip_jax.data.notes import Notes
    from remoteclip_jax.detector.inference import TrainedDetector


def find_images(pattern: str, notes: "Notes") -> list[Path]:
    """The images that a path or a pattern stands for, sorted; in a folder, those with an image's extension, with a note
    on what may be images of other kinds. UserError where there is none."""
    from remoteclip_jax.data.image_files import EXTENSIONS
    from remoteclip_jax.data.listing import image_paths, visible_entries

    path = Path(pattern)
    if path.is_dir():
        found = [match for match in image_paths(visible_entries(path), notes) if match.is_file()]
        problem = f"no image in this folder (looked for {', '.join(EXTENSIONS)})"
    else:
        matches = [path] if path.exists() else map(Path, sorted(set(glob.glob(_literal_folder(path), recursive=True))))
        found = [match for match in matches if not match.is_dir()]
        problem = "no file matches this" if glob.has_magic(pattern) else "no such file"
    if not found:
        raise errors.UserError(f"--image={pattern}: {problem}")
    return found


def _literal_folder(pattern: Path) -> str:
    """The pattern, whose folder is no pattern where there is one of just that name, such as `photos [1]`."""
    folder = str(pattern.parent)
    return str(Path(glob.escape(folder) if pattern.parent.is_dir() else folder, pattern.name))


def result_names(paths: list[Path]) -> list[str]:
    """A name for the results of each image: its own without the extension, with a number where several share one."""
    own = {path.stem for path in paths}
    names: dict[str, None] = {}
    for path in paths:
        name, number = path.stem, 2
        while name in names or (name != path.stem and name in own):
            name, number = f"{path.stem}-{number}", number + 1
        names[name] = None
    return list(names)


def check_output(output: Path, images: list[Path], names: list[str]) -> None:
    """UserError where `output` is a file, or a picture of it would take the place of one of the images."""
    if output.exists() and not output.is_dir():
        raise errors.UserError(f"--output={output} is a file, expected a folder")
    originals = {path.resolve() for path in images}
    for name in names:
        if (output / f"{name}.jpg").resolve() in originals:
            raise errors.UserError(f"--output={output}: {name}.jpg there is one of the images; choose another folder")


def write_detections(
    detector: "TrainedDetector",
    prompts: "TextEmbeddings",
    path: Path,
    output: Path,
    threshold: float,
    bands: tuple[int, ...] | None,
    notes: "Notes",
) -> collections.Counter[str]:
    """Write OUTPUT.json and OUTPUT.jpg for one image; how many objects of each name were found. What was done to a deep
    image goes into `notes`."""
    from remoteclip_jax.data.bands import note_raster
    from remoteclip_jax.data.images import read_header, read_image
    from remoteclip_jax.detector.inference import detect_with
    from remoteclip_jax.evaluation.draw import LARGEST, draw
    from remoteclip_jax.files.writing import write_atomically

    header = read_header(path, bands)
    width, height = header.size
    # A huge JPEG is decoded at a fraction of its size: enough for the detector and for the picture.
    shorter = max(LARGEST, detector.views[-1]) * min(width, height) / max(width, height)
    image = read_image(path, at_least=max(1, round(shorter)), bands=bands)
    note_raster(header, path, bands, notes)
    found = detect_with(detector, image, prompts, threshold, (width, height))
    if (factor := max(image.size) // (2 * LARGEST)) > 1:
        image = image.reduce(factor)  # drawing needs a copy, which would be of gigabytes
    picture = draw(image, found.scaled(image.width / width))
    content = {"image": str(path), "width": width, "height": height, "detections": found.to_json()}
    write_atomically(output.with_name(output.name + ".jpg"), lambda file: picture.save(file, "JPEG", quality=90))
    write_atomically(output.with_name(output.name + ".json"), json.dumps(content, indent=2) + "\n")
    return collections.Counter(found.classes[label] for label in found.labels)
