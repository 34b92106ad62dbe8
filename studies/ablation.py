"""What each idea of the detector is worth: python studies/ablation.py --output=runs/ablation.

All variants start from one and the same plain detector, which has none of the ideas, and go on for the same steps on
the same drawn images: with all of the ideas (`full`), with all but one, with none (`plain`), and with those that the
preset has (`default`). Every part starts as the identity, so that each begins as that plain detector. They are
evaluated on drawn images of another seed. Minutes from random weights would say little: a detector of 20 classes finds
next to nothing by then.

With `--from_random` every variant starts from random weights instead; `--steps` should then be some thousands.

Started again, it goes on where it stopped: a finished run's figures stand in `VARIANT-SEED.result.json`. Several may
run side by side, each over a part of the table (`--variants`, `--seeds`), once the start is there; each prints all that
is finished.
"""

import dataclasses
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from absl import flags

from remoteclip_jax import errors
from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.evaluation_data import EvalSettings
from remoteclip_jax.scenes import generate_dataset
from remoteclip_jax.tasks.detect.config import PRESETS
from remoteclip_jax.tasks.evaluating import evaluate
from remoteclip_jax.tasks.training import train

PLAIN: dict[str, Any] = {
    "gating": "none",
    "text_conditioning": False,
    "contrast": 0.0,
    "presence": 0.0,
    "denoising": 0,
    "match_overlap": 2.0,
    "class_loss": "bce",
}
# Every idea, those among them that the evidence took out of the preset.
EVERY: dict[str, Any] = {"contrast": 0.5, "match_overlap": 0.6}
WITHOUT: dict[str, dict[str, Any]] = {
    "gating: none": {"gating": "none"},
    "gating: concat_mlp": {"gating": "concat_mlp"},
    "no global contrast": {"contrast": 0.0},
    "truth left in I_g": {"remove_truth": False},
    "no presence loss": {"presence": 0.0},
    "class target 1 in place of IoU": {"class_loss": "bce"},
    "no text conditioner": {"text_conditioning": False},
    "no denoising": {"denoising": 0},
    "learned queries": {"query_init": "learned"},
    "no dense loss": {"dense": 0.0},
    "left-over queries are ground": {"match_overlap": 2.0},
}
# What each variant changes in the detector of the preset `small`.
VARIANTS: dict[str, dict[str, Any]] = {
    "full": EVERY,
    "plain": PLAIN,
    "default": {},
    "default with a weak contrast": {"contrast": 0.1},
    **{name: {**EVERY, **change} for name, change in WITHOUT.items()},
}
UNSEEN_SEED = 4242
FIGURES = ("map", "map_50", "map_75")

_OUTPUT = DEFINE_path("output", "runs/ablation", "where data, runs and results go")
_VARIANTS = flags.DEFINE_list("variants", list(VARIANTS), "which rows of the table")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds of the detector's weights and of its batches")
_START = flags.DEFINE_integer("start_steps", 3600, "steps of the plain detector, of which the first align its tower")
_STEPS = flags.DEFINE_integer("steps", 600, "steps of every variant")
_RANDOM = flags.DEFINE_bool("from_random", False, "start every variant from random weights")
_IMAGES = flags.DEFINE_integer("images", 200, "unseen images to evaluate on")


def main() -> None:
    output = Path(_OUTPUT.value).absolute()
    for name in _VARIANTS.value:
        if name not in VARIANTS:
            raise errors.UserError(f"--variants: {name!r} is unknown; known: {', '.join(VARIANTS)}")
    preset = PRESETS["small"]
    # The one validation image costs little and decides nothing: the last epoch alone is validated.
    generate_dataset(output / "data", preset.synthetic_train, 1, 0, 0, image_size=preset.synthetic_size, progress=True)
    generate_dataset(output / "unseen", 0, 0, _IMAGES.value, seed=UNSEEN_SEED, progress=True)
    jax.config.update("jax_compilation_cache_dir", str(output / "compiled"))
    plain = {"task": "detect", "preset": "small", "detector": preset.detector.replace(**PLAIN)}
    start = output / "start"
    if not _RANDOM.value and not RunDirectory(start).evaluated():  # which a run is at its very end
        train({**plain, "data_dir": str(output / "data"), "max_steps": _START.value}, start)
    missing = list(_missing(output))
    for name, seed in missing:
        if len(missing) == 1:
            _run(output, start, name, seed)
        else:  # in a process of its own: the allocator keeps the gigabytes of a finished run's images
            one = (f"--variants={name}", f"--seeds={seed}", f"--output={output}")
            counts = (f"--{flag.name}={flag.value}" for flag in (_START, _STEPS, _IMAGES, _RANDOM))
            subprocess.run([sys.executable, __file__, *one, *counts], check=True)
    print(table(read(output)))


def _run(output: Path, start: Path, name: str, seed: int) -> None:
    """Train and evaluate one variant, and keep its figures."""
    begin, preset = time.monotonic(), PRESETS["small"]
    detector: DetectorConfig = preset.detector.replace(**VARIANTS[name])
    settings = {
        "task": "detect",
        "preset": "small",
        "data_dir": str(output / "data"),
        "detector": detector,
        "seed": seed,
        "max_steps": _STEPS.value,
    }
    if not _RANDOM.value:  # other than real weights, the start has learned for minutes only: its tower trains on
        settings |= {"weights": str(start), "learning_rate": preset.learning_rate / 2, "backbone": "train"}
    run = train(settings, output / f"{_slug(name)}-{seed}")
    figures = evaluate(run, EvalSettings(data_dir=output / "unseen"))
    row = {key: figures[key] for key in FIGURES}
    row |= {"per_class": {c: v["map_50"] for c, v in figures["per_class"].items()}}
    row |= {"minutes": (time.monotonic() - begin) / 60, "detector": dataclasses.asdict(detector)}
    start_steps = 0 if _RANDOM.value else _START.value
    content = {"variant": name, "seed": seed, "start_steps": start_steps, "steps": _STEPS.value, **row}
    write_atomically(output / f"{_slug(name)}-{seed}.result.json", json.dumps(content, indent=2) + "\n")


def _missing(output: Path) -> Iterator[tuple[str, int]]:
    finished = read(output)
    for seed in map(int, _SEEDS.value):
        for name in _VARIANTS.value:
            if str(seed) not in finished.get(name, {}):
                yield name, seed


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def read(output: Path) -> dict[str, dict[str, Any]]:
    """Figures of what is finished, by variant and seed."""
    parts: dict[str, dict[str, Any]] = {}
    for path in sorted(output.glob("*.result.json")):
        part = json.loads(path.read_text())
        parts.setdefault(part["variant"], {})[str(part["seed"])] = part
    return {name: parts[name] for name in VARIANTS if name in parts}


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: mean and standard deviation over seeds, and the mean difference from the full detector of the same
    seeds with its standard error."""
    lines = ["| variant | seeds | mAP@50 | mAP | mAP@50 less the full one's |", "| --- | --- | --- | --- | --- |"]
    full = results.get("full", {})
    for name, runs in results.items():
        cells = [name, str(len(runs))]
        for key in ("map_50", "map"):
            cells.append(_spread([100 * run[key] for run in runs.values()]))
        pairs = [100 * (run["map_50"] - full[seed]["map_50"]) for seed, run in runs.items() if seed in full]
        error = f" ± {statistics.stdev(pairs) / len(pairs) ** 0.5:.1f}" if len(pairs) > 1 else ""
        cells.append(f"{statistics.mean(pairs):+.1f}{error}" if pairs and name != "full" else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation} %"


if __name__ == "__main__":
    errors.run(main)
