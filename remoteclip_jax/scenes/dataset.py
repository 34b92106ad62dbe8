"""Generates a data set in the flat layout, and keeps its settings in `synthetic.json`."""

import json
import threading
from pathlib import Path

from tqdm import tqdm

from remoteclip_jax.errors import UserError
from remoteclip_jax.scenes.images import check_image_size, file_stem, write_atomically
from remoteclip_jax.scenes.workers import default_worker_count, generate_images

VERSION = 1  # of the generator: raise it when the same seed gives different images


def _prepare_folder(output: Path, settings: dict[str, int]) -> None:
    """Create the folder and its settings file. Raises UserError if it holds something else."""
    settings_file = output / "synthetic.json"
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; --output takes a folder")
    if settings_file.is_file():
        try:
            found = json.loads(settings_file.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != settings:
            old = ", ".join(f"{k}={v}" for k, v in found.items()) if isinstance(found, dict) else "unreadable"
            raise UserError(
                f"{output}: holds synthetic data with other settings ({old}); choose another --output or remove it"
            )
    elif output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output}: is not empty and holds no synthetic data; choose another --output")
    output.mkdir(parents=True, exist_ok=True)
    write_atomically(settings_file, (json.dumps(settings, indent=2) + "\n").encode())
    for folder in ("images", "annotations", "splits"):
        (output / folder).mkdir(exist_ok=True)


def generate_dataset(
    output: Path,
    train: int,
    val: int,
    test: int,
    seed: int,
    image_size: int = 800,
    progress: bool = False,
    workers: int | None = None,
) -> None:
    """Generate `train` + `val` + `test` images of `image_size` pixels a side, with annotations, in `output`.

    Image i of a split depends only on (seed, split, i) and the size, not on the number of `workers` (default: one per
    core, fewer for few images). Called again with the same settings, it adds what is missing. The split lists are
    written last.

    Raises:
        UserError: for invalid counts, seed or size, and for a folder that holds something else.
    """
    counts = {"train": train, "val": val, "test": test}
    for split, n in counts.items():
        if n < 0:
            raise UserError(f"--{split}={n}: a number of images cannot be negative")
    if not any(counts.values()):
        raise UserError("--train, --val and --test are all 0: nothing to generate")
    if seed < 0:
        raise UserError(f"--seed={seed}: choose 0 or a positive number")
    check_image_size(image_size)
    output = Path(output)
    _prepare_folder(output, {"version": VERSION, **counts, "seed": seed, "image_size": image_size})
    existing = {p.name for folder in ("images", "annotations") for p in (output / folder).iterdir()}
    missing = [
        (split, i)
        for split, n in counts.items()
        for i in range(n)
        if not {f"{file_stem(split, i)}.jpg", f"{file_stem(split, i)}.xml"} <= existing
    ]
    split_lists = {
        output / "splits" / f"{split}.txt": "".join(f"{file_stem(split, i)}\n" for i in range(n))
        for split, n in counts.items()
        if n  # an empty list would be a split without images, which readers refuse
    }
    if not missing and all(path.is_file() for path in split_lists):
        return
    if workers is None:
        workers = default_worker_count(len(missing))
    lock = threading.Lock()
    with tqdm(total=len(missing), desc="generating", unit="image", disable=None if progress else True) as bar:

        def image_done() -> None:
            with lock:
                bar.update()

        generate_images(output, seed, image_size, missing, workers, image_done)
    for partial in output.glob("*/*.part"):  # of a command that was killed
        partial.unlink(missing_ok=True)
    for path, names in split_lists.items():
        write_atomically(path, names.encode())
