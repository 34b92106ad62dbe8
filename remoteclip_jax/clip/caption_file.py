"""Box captions of data sets as a file, in the layout of RSICD's JSON, which `--captions` reads."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np

from remoteclip_jax.clip.box_captions import box_captions
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.errors import UserError
from remoteclip_jax.files.writing import write_atomically

CAPTIONS_FILE = "captions.json"  # beside the images


def write_box_captions(datasets: Sequence[Dataset], data_dir: Path, output: Path, seed: int) -> tuple[str, ...]:
    """Write the five box captions of each image to the JSON file `output`, whose folder is made if need be.

    `datasets` are the splits, with their names; the names of images are relative to `data_dir`. The captions of an
    image depend on its objects, its file name and the `seed` alone. Ignored objects are not mentioned. Returns notes
    for people: images without objects, which are left out, and what was written. UserError if no image has an object;
    then nothing is written.
    """
    images: list[dict[str, object]] = []
    lines: list[str] = []
    for dataset in datasets:
        notes = Notes(dataset.split)
        for example in dataset.examples:
            captions = box_captions(example.labels, example.boxes, dataset.classes, _generator(example, seed))
            if not captions:
                notes.add("images without objects left out, for there is nothing to say about them", example.image)
                continue
            assert isinstance(example.image, Path)  # all formats with boxes have files
            images.append(
                {
                    "imgid": len(images),
                    "filename": PurePath(os.path.relpath(example.image, data_dir)).as_posix(),
                    "split": dataset.split,
                    "sentences": [{"raw": caption} for caption in captions],
                }
            )
        lines += notes.lines()
    if not images:
        raise UserError(f"{data_dir}: no image has an object, so there is nothing to write captions about")
    output.parent.mkdir(parents=True, exist_ok=True)
    content = {"dataset": data_dir.resolve().name, "images": images}
    write_atomically(output, json.dumps(content, indent=1))  # in ASCII, so that file names that are not UTF-8 stay
    counts = (f"{d.split} {sum(image['split'] == d.split for image in images)} images" for d in datasets)
    return (*lines, f"written: {output}: five captions for each of {len(images)} images ({', '.join(counts)})")


def _generator(example: Example, seed: int) -> np.random.Generator:
    """Random numbers that depend on the seed and the image's file name only, so that adding images changes no other."""
    digest = hashlib.sha256(os.fsencode(example.image.name)).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
