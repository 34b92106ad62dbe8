"""Drawing a data set into the flat layout; the settings stay beside it in `synthetic.json`."""

import json
import threading
from pathlib import Path

from tqdm import tqdm

from remoteclip_jax.errors import UserError
from remoteclip_jax.scenes.picture import check_size, replace, stem
from remoteclip_jax.scenes.workers import default_workers, draw_all

VERSION = 1  # of the drawing: raise it when the same seed gives other pictures


def _claim(output: Path, settings: dict[str, int]) -> None:
    """Make the folder ours, or refuse one that holds something else."""
    note = output / "synthetic.json"
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; --output takes a folder")
    if note.is_file():
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != settings:
            old = ", ".join(f"{k}={v}" for k, v in found.items()) if isinstance(found, dict) else "unreadable"
            raise UserError(
                f"{output}: holds a drawing with other settings ({old}); choose another --output or remove it"
            )
    elif output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output}: is not empty and holds no synthetic data; choose another --output")
    output.mkdir(parents=True, exist_ok=True)
    replace(note, (json.dumps(settings, indent=2) + "\n").encode())
    for folder in ("images", "annotations", "splits"):
        (output / folder).mkdir(exist_ok=True)


def draw_dataset(
    output: Path,
    train: int,
    val: int,
    test: int,
    seed: int,
    image_size: int = 800,
    progress: bool = False,
    workers: int | None = None,
) -> None:
    """Draw `train` + `val` + `test` images of `image_size` pixels a side with their annotations into `output`.

    Image i of a split depends only on (seed, split, i) and the size, whatever the number of `workers` (default: one a
    core). Started again with the same settings it completes what is missing; the split lists are written at the end.

    Raises:
        UserError: bad counts or size, or a folder that holds something else.
    """
    counts = {"train": train, "val": val, "test": test}
    for split, n in counts.items():
        if n < 0:
            raise UserError(f"--{split}={n}: a number of images cannot be negative")
    if not any(counts.values()):
        raise UserError("--train, --val and --test are all 0: nothing to draw")
    if seed < 0:
        raise UserError(f"--seed={seed}: choose 0 or a positive number")
    check_size(image_size)
    output = Path(output)
    _claim(output, {"version": VERSION, **counts, "seed": seed, "image_size": image_size})
    have = {p.name for folder in ("images", "annotations") for p in (output / folder).iterdir()}
    tasks = [
        (split, i)
        for split, n in counts.items()
        for i in range(n)
        if not {f"{stem(split, i)}.jpg", f"{stem(split, i)}.xml"} <= have
    ]
    lists = {
        output / "splits" / f"{split}.txt": "".join(f"{stem(split, i)}\n" for i in range(n))
        for split, n in counts.items()
        if n  # a list of nothing would be a split without images, which is an error to whoever reads it
    }
    if not tasks and all(path.is_file() for path in lists):
        return
    lock = threading.Lock()
    with tqdm(total=len(tasks), desc="drawing", unit="image", disable=None if progress else True) as bar:

        def done() -> None:
            with lock:
                bar.update()

        draw_all(output, seed, image_size, tasks, default_workers(len(tasks)) if workers is None else workers, done)
    for left in output.glob("*/*.part"):  # of a drawing that was killed
        left.unlink(missing_ok=True)
    for path, names in lists.items():
        replace(path, names.encode())
