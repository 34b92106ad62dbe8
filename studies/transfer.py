"""What a detector learns from few real images, from random weights and from trained ones.

    python studies/transfer.py --data_dir=GDIT --weights=RUN --output=runs/transfer

trains a detector on the first `--counts` images of a random order of the training split, for `--minutes` each, once
from random weights and once from `--weights`, and evaluates it on the validation split. All else is that of the preset
`small`, or follows from the start: with `--weights` the image tower keeps its batch statistics and learns at a tenth of
the learning rate. Started again, the study continues where it stopped: the figures of a finished run are in
`NAME.result.json`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from absl import flags

from remoteclip_jax import errors
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.runs.evaluation_data import EvalSettings
from remoteclip_jax.tasks.evaluating import evaluate
from remoteclip_jax.tasks.training import train

_DATA = DEFINE_path("data_dir", None, "a data set in the flat layout: images/, annotations/, splits/")
_WEIGHTS = DEFINE_path("weights", None, "a contrast run, or converted weights")
_OUTPUT = DEFINE_path("output", "runs/transfer", "folder for runs and results")
_COUNTS = flags.DEFINE_list("counts", ["10", "236"], "numbers of training images")
_MINUTES = flags.DEFINE_float("minutes", 5.0, "minutes of each training")
_STARTS = flags.DEFINE_list("starts", ["random", "weights"], "what to start from")
FIGURES = ("map", "map_50", "map_75")


def main() -> None:
    """Train and evaluate what is missing, and print the table."""
    if not (_DATA.value and _WEIGHTS.value):
        raise errors.UserError("name the data and the weights: --data_dir=DIR --weights=RUN")
    output = Path(_OUTPUT.value).absolute()
    output.mkdir(parents=True, exist_ok=True)
    cases = [(int(count), start) for count in _COUNTS.value for start in _STARTS.value]
    missing = [case for case in cases if not _result(output, *case).exists()]
    for count, start in missing:
        if len(missing) == 1:
            _train_and_evaluate(output, count, start)
        else:  # in a process of its own, because the allocator keeps the gigabytes of a finished run's images
            settings = (f"--{flag.name}={flag.value}" for flag in (_DATA, _WEIGHTS, _OUTPUT, _MINUTES))
            selection = (f"--counts={count}", f"--starts={start}")
            subprocess.run([sys.executable, __file__, *settings, *selection], check=True)
    print(table([json.loads(_result(output, *case).read_text()) for case in cases]))


def first_images(data_dir: Path, count: int, output: Path) -> Path:
    """A data set in `output` with the first `count` images of a random order of the training images that have objects;
    its validation images are those of `data_dir`, whose files are linked."""
    (output / "splits").mkdir(parents=True, exist_ok=True)
    for folder in ("images", "annotations"):
        if not (output / folder).exists():
            (output / folder).symlink_to(data_dir.resolve() / folder)
    names = [e.image.stem for e in read_dataset(data_dir, "train").examples if len(e.labels)]
    order = np.random.default_rng(0).permutation(len(names))[:count]
    (output / "splits" / "train.txt").write_text("".join(f"{names[i]}\n" for i in order))
    (output / "splits" / "val.txt").write_text((data_dir / "splits" / "val.txt").read_text())
    return output


def _result(output: Path, count: int, start: str) -> Path:
    return output / f"{count}-{start}.result.json"


def _train_and_evaluate(output: Path, count: int, start: str) -> None:
    data = first_images(Path(_DATA.value), count, output / f"data-{count}")
    settings = {"task": "detect", "preset": "small", "data_dir": str(data), "max_minutes": _MINUTES.value}
    if start == "weights":
        settings["weights"] = os.path.abspath(_WEIGHTS.value)
    run = train(settings, output / f"{count}-{start}")
    figures = evaluate(run, EvalSettings(split="val"))
    steps = json.loads((run / "config.json").read_text())["total_steps"]
    content = {"images": count, "start": start, "steps": steps, **{key: figures[key] for key in FIGURES}}
    write_atomically(_result(output, count, start), json.dumps(content, indent=2) + "\n")


def table(results: list[dict[str, float | str | int]]) -> str:
    """The results as a Markdown table."""
    lines = ["| images | start | steps | mAP@50 | mAP |", "| --- | --- | --- | --- | --- |"]
    for row in results:
        shares = [f"{100 * float(row[key]):.1f} %" for key in ("map_50", "map")]
        lines.append(f"| {row['images']} | {row['start']} | {row['steps']} | {' | '.join(shares)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    errors.run(main)
