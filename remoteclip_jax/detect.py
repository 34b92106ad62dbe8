"""Find what prompts name in images of your own: `python -m remoteclip_jax.detect --workdir=RUN --image='*.jpg'`.

The module is the command line alone; in Python, `remoteclip_jax.detect` is the function.
"""

import collections
import glob
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags
from tqdm import tqdm

from remoteclip_jax import errors

if TYPE_CHECKING:  # JAX is loaded after the flags are parsed, so that --help and wrong flags answer at once
    from remoteclip_jax.clip.text_embeddings import TextEmbeddings
    from remoteclip_jax.detector.inference import TrainedDetector

_WORKDIR = flags.DEFINE_string("workdir", None, "a run of train.py --task=detect", required=True)
_IMAGE = flags.DEFINE_string("image", None, "an image, a folder, or a pattern such as 'photos/*.jpg'", required=True)
_PROMPTS = flags.DEFINE_list("prompts", None, "what to look for, such as 'ship,storage tank' (the run's classes)")
_TEXTS = flags.DEFINE_string("text_embeddings", None, "npz with class_names[K] and embeddings[K, D] to look for")
_THRESHOLD = flags.DEFINE_float("score_threshold", 0.3, "leave out detections of a lower score")
_SIZE = flags.DEFINE_integer("image_size", None, "side in pixels at which images are predicted (the run's)")
_OUTPUT = flags.DEFINE_string("output", None, "folder for STEM.json and STEM.jpg of each image", required=True)


def main() -> None:
    import dataclasses

    from remoteclip_jax.clip.text_embeddings import load_text_embeddings
    from remoteclip_jax.config import check_size
    from remoteclip_jax.detector.inference import encode_prompts
    from remoteclip_jax.loading import load_detector

    if not 0 <= _THRESHOLD.value <= 1:
        raise errors.UserError(f"--score_threshold={_THRESHOLD.value} must lie between 0 and 1")
    if _PROMPTS.value is not None and _TEXTS.value:
        raise errors.UserError("--prompts and --text_embeddings both say what to look for: give one of them")
    images, output = find_images(_IMAGE.value), Path(_OUTPUT.value)
    if output.exists() and not output.is_dir():
        raise errors.UserError(f"--output={output} is a file, expected a folder")
    detector = load_detector(_WORKDIR.value)
    if _SIZE.value is not None:
        check_size(_SIZE.value)
        detector = dataclasses.replace(detector, size=_SIZE.value)
    if _TEXTS.value:
        prompts = load_text_embeddings(Path(_TEXTS.value), detector.clip.embed_dim)
    else:
        prompts = encode_prompts(detector, _PROMPTS.value)
    output.mkdir(parents=True, exist_ok=True)
    failed = False
    for path, name in tqdm(list(zip(images, stems(images), strict=True)), unit="image", disable=None):
        try:
            counts = detect_file(detector, prompts, path, output / name)
        except errors.UserError as e:
            if len(images) == 1:
                raise
            tqdm.write(f"error: {' '.join(str(e).split())}", file=sys.stderr)
            failed = True
            continue
        tqdm.write(f"{path}: {', '.join(f'{n} {label}' for label, n in counts.most_common()) or 'nothing found'}")
    if failed:
        sys.exit(2)


def find_images(pattern: str) -> list[Path]:
    """The images that a path or a pattern stands for, sorted; in a folder, those with an image's extension."""
    from remoteclip_jax.data.images import EXTENSIONS

    path = Path(pattern)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in EXTENSIONS)
    else:
        matches = sorted(map(Path, glob.glob(pattern, recursive=True)))
        found = [path] if path.exists() else [match for match in matches if match.is_file()]
    if not found:
        raise errors.UserError(f"--image={pattern}: no image there")
    return found


def stems(paths: list[Path]) -> list[str]:
    """A name for the results of each image: its own without the extension, with a number where several share one."""
    names: list[str] = []
    taken: set[str] = {path.stem for path in paths}
    seen: set[str] = set()
    for path in paths:
        name, number = path.stem, 2
        while name in seen or (name != path.stem and name in taken):
            name, number = f"{path.stem}-{number}", number + 1
        seen.add(name)
        names.append(name)
    return names


def detect_file(
    detector: "TrainedDetector", prompts: "TextEmbeddings", path: Path, output: Path
) -> collections.Counter[str]:
    """Write OUTPUT.json and OUTPUT.jpg for one image; how many objects of each name were found."""
    from remoteclip_jax.data.images import image_size, read_image
    from remoteclip_jax.detector.inference import detect_with
    from remoteclip_jax.evaluation.draw import LARGEST, draw
    from remoteclip_jax.files import write_atomically

    width, height = image_size(path)
    # A huge JPEG is decoded at a fraction of its size: enough for the detector and for the picture.
    shorter = max(LARGEST, detector.size) * min(width, height) / max(width, height)
    image = read_image(path, at_least=max(1, round(shorter)))
    found = detect_with(detector, image, prompts, _THRESHOLD.value, (width, height))
    content = {"image": str(path), "width": width, "height": height, "detections": found.to_json()}
    picture = draw(image, found.scaled(image.width / width))
    write_atomically(output.with_name(output.name + ".jpg"), lambda file: picture.save(file, "JPEG", quality=90))
    write_atomically(output.with_name(output.name + ".json"), json.dumps(content, indent=2) + "\n")
    return collections.Counter(found.classes[label] for label in found.labels)


if __name__ == "__main__":
    errors.run(main)
