"""Find what prompts name in images of your own: `python -m remoteclip_jax.detect --workdir=RUN --image='*.jpg'`.

The module is the command line alone; in Python, `remoteclip_jax.detect` is the function.
"""

import collections
import dataclasses
import glob
import json
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags
from tqdm import tqdm

from remoteclip_jax import errors
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.printable import printable

if TYPE_CHECKING:  # JAX is loaded after the flags are looked at, so that --help and wrong flags answer at once
    from remoteclip_jax.clip.text_embeddings import TextEmbeddings
    from remoteclip_jax.data.files import Notes
    from remoteclip_jax.detector.inference import TrainedDetector

_WORKDIR = DEFINE_path("workdir", None, "a run of train.py --task=detect", required=True)
_IMAGE = DEFINE_path("image", None, "an image, a folder, or a pattern such as 'photos/*.jpg'", required=True)
_PROMPTS = flags.DEFINE_list("prompts", None, "what to look for, such as 'ship,storage tank' (the run's classes)")
_TEXTS = DEFINE_path("text_embeddings", None, "npz with class_names[K] and embeddings[K, D] for the run's own")
_THRESHOLD = flags.DEFINE_float("score_threshold", 0.3, "leave out detections of a lower score")
_SIZE = flags.DEFINE_integer("image_size", None, "pixels of the finest view at which images are predicted (the run's)")
_MOST = flags.DEFINE_integer("max_detections", None, "at most this many an image (the run's)")
_BANDS = flags.DEFINE_string("bands", None, "of images with more than three: red, green, blue, as 3,2,1 (the run's)")
_OUTPUT = DEFINE_path("output", None, "folder for STEM.json and STEM.jpg of each image", required=True)


def main() -> None:
    from remoteclip_jax.data.depth import parse_bands
    from remoteclip_jax.data.files import Notes
    from remoteclip_jax.data.views import check_size, resized_views
    from remoteclip_jax.detections import check_max_detections

    bands = parse_bands(_BANDS.value) if _BANDS.value else None
    if not 0 <= _THRESHOLD.value <= 1:
        raise errors.UserError(f"--score_threshold={_THRESHOLD.value} must lie between 0 and 1")
    if _SIZE.value is not None:
        check_size(_SIZE.value)
    if _MOST.value is not None:
        check_max_detections(_MOST.value)
    notes = Notes("images")
    images, output = find_images(_IMAGE.value, notes), Path(_OUTPUT.value)
    names = stems(images)
    check_output(output, images, names)

    from remoteclip_jax.compilation import keep_compiled_programs
    from remoteclip_jax.detector.inference import encode_prompts, with_embeddings
    from remoteclip_jax.loading import load_detector
    from remoteclip_jax.memory import keep_freed_memory

    keep_freed_memory()
    keep_compiled_programs()
    detector = load_detector(_WORKDIR.value)
    if _SIZE.value is not None:
        detector = dataclasses.replace(detector, views=resized_views(detector.views, _SIZE.value))
    if _MOST.value is not None:
        detector = dataclasses.replace(detector, max_detections=_MOST.value)
    if _TEXTS.value:
        detector = with_embeddings(detector, _TEXTS.value)
    prompts = encode_prompts(detector, _PROMPTS.value)
    if bands is None:
        bands = detector.bands
    output.mkdir(parents=True, exist_ok=True)
    failed = False
    for path, name in tqdm(list(zip(images, names, strict=True)), unit="image", disable=None):
        try:
            counts = detect_file(detector, prompts, path, output / name, _THRESHOLD.value, bands, notes)
        except errors.UserError as e:
            if len(images) == 1:
                raise
            tqdm.write(errors.error_line(e), file=sys.stderr)
            failed = True
            continue
        seen = ", ".join(f"{n} {label}" for label, n in counts.most_common()) or "nothing found"
        tqdm.write(printable(f"{path}: {seen}"))
    for line in notes.lines():
        print(printable(line), file=sys.stderr)
    if failed:
        sys.exit(2)


def find_images(pattern: str, notes: "Notes") -> list[Path]:
    """The images that a path or a pattern stands for, sorted; in a folder, those with an image's extension, with a note
    on what may be images of other kinds. UserError where there is none."""
    from remoteclip_jax.data.image_files import EXTENSIONS
    from remoteclip_jax.data.listing import images_of, visible

    path = Path(pattern)
    if path.is_dir():
        found = [match for match in images_of(visible(path), notes) if match.is_file()]
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


def stems(paths: list[Path]) -> list[str]:
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


def detect_file(
    detector: "TrainedDetector", prompts: "TextEmbeddings", path: Path, output: Path, threshold: float,
    bands: tuple[int, ...] | None, notes: "Notes",
) -> collections.Counter[str]:  # fmt: skip
    """Write OUTPUT.json and OUTPUT.jpg for one image; how many objects of each name were found. What was done to a deep
    image goes into `notes`."""
    from remoteclip_jax.data.depth import note_depth
    from remoteclip_jax.data.images import read_header, read_image
    from remoteclip_jax.detector.inference import detect_with
    from remoteclip_jax.evaluation.draw import LARGEST, draw
    from remoteclip_jax.files import write_atomically

    header = read_header(path, bands)
    width, height = header.size
    # A huge JPEG is decoded at a fraction of its size: enough for the detector and for the picture.
    shorter = max(LARGEST, detector.views[-1]) * min(width, height) / max(width, height)
    image = read_image(path, at_least=max(1, round(shorter)), bands=bands)
    note_depth(header, path, bands, notes)
    found = detect_with(detector, image, prompts, threshold, (width, height))
    if (factor := max(image.size) // (2 * LARGEST)) > 1:
        image = image.reduce(factor)  # drawing needs a copy, which would be of gigabytes
    picture = draw(image, found.scaled(image.width / width))
    content = {"image": str(path), "width": width, "height": height, "detections": found.to_json()}
    write_atomically(output.with_name(output.name + ".jpg"), lambda file: picture.save(file, "JPEG", quality=90))
    write_atomically(output.with_name(output.name + ".json"), json.dumps(content, indent=2) + "\n")
    return collections.Counter(found.classes[label] for label in found.labels)


class _Callable(types.ModuleType):
    """Importing this module puts it where the package has its function of the same name; so it serves as that one."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from remoteclip_jax.detector.inference import detect

        return detect(*args, **kwargs)


if __name__ == "__main__":
    errors.run(main)
else:
    sys.modules[__name__].__class__ = _Callable
