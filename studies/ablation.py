"""An ablation of the detector's ideas: python studies/ablation.py --output=runs/ablation.

All variants start from the same plain detector, which has none of the ideas. They continue for the same number of steps
on the same synthetic images: with all ideas (`full`), with all but one, with none (`plain`), and with those of the
preset (`default`). Each added part starts as the identity, so that every variant begins as the plain detector. They are
evaluated on synthetic images of another seed. A few minutes from random weights would show little, because a detector
of 20 classes finds almost nothing by then.

With `--from_random` every variant starts from random weights instead. `--steps` should then be several thousand. With
`--weights` the image tower of every variant starts from a CLIP, and the rest of it from random weights, as that of a
user does; the variants are then those of `FROM_DEFAULT`, and their differences are from `default`.

Started again, the study continues where it stopped. The figures of a finished run are in `VARIANT-SEED.result.json`.
Once the plain detector is trained, several processes may run side by side, each over a part of the table (`--variants`,
`--seeds`). Each of them prints everything that is finished.
"""

import dataclasses
import json
import os
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
# All ideas, including those that the preset lacks because they did not help.
FULL: dict[str, Any] = {"contrast": 0.5, "match_overlap": 0.6}
WITHOUT: dict[str, dict[str, Any]] = {
    "gating: none": {"gating": "none"},
    "gating: concat_mlp": {"gating": "concat_mlp"},
    "no global contrast": {"contrast": 0.0},
    "truth left in I_g": {"remove_truth": False},
    "no presence loss": {"presence": 0.0},
    "class target 1 instead of IoU": {"class_loss": "bce"},
    "no text conditioner": {"text_conditioning": False},
    "no denoising": {"denoising": 0},
    "learned queries": {"query_init": "learned"},
    "no dense loss": {"dense": 0.0},
    "unmatched queries are background": {"match_overlap": 2.0},
}
# What the context is worth to a detector whose tower knows what is in an image.
FROM_DEFAULT: dict[str, dict[str, Any]] = {
    "default": {},
    "default without gating": {"gating": "none"},
    "default with global contrast": {"contrast": 0.5},
    "default without presence loss": {"presence": 0.0},
}
# What each variant changes in the detector of the preset `small`.
VARIANTS: dict[str, dict[str, Any]] = {
    "full": FULL,
    "plain": PLAIN,
    "default": {},
    "default with a weak contrast": {"contrast": 0.1},
    **{name: {**FULL, **change} for name, change in WITHOUT.items()},
    **FROM_DEFAULT,
}
# Old names in stored results, and their present names.
RENAMED_VARIANTS = {
    "left-over queries are ground": "unmatched queries are background",
    "class target 1 in place of IoU": "class target 1 instead of IoU",
}
UNSEEN_SEED = 4242
FIGURES = ("map", "map_50", "map_75")

_OUTPUT = DEFINE_path("output", "runs/ablation", "folder for data, runs and results")
_VARIANTS = flags.DEFINE_list("variants", None, "rows of the table (all)")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds of the detector's weights and of its batches")
_START = flags.DEFINE_integer("start_steps", 3600, "steps of the plain detector, including those that align its tower")
_STEPS = flags.DEFINE_integer("steps", 600, "steps of every variant")
_RANDOM = flags.DEFINE_bool("from_random", False, "start every variant from random weights")
_WEIGHTS = DEFINE_path(
    "weights", None, "a contrast run or converted weights, whose image tower every variant starts from"
)
_IMAGES = flags.DEFINE_integer("unseen_images", 200, "unseen images to evaluate on")


def main() -> None:
    """Train and evaluate what is missing, and print the table."""
    output = Path(_OUTPUT.value).absolute()
    for name in _variants():
        if name not in VARIANTS:
            raise errors.UserError(f"--variants: {name!r} is unknown; known: {', '.join(VARIANTS)}")
    preset = PRESETS["small"]
    # One validation image is enough: it decides nothing, because only the last epoch is validated.
    generate_dataset(output / "data", preset.synthetic_train, 1, 0, 0, image_size=preset.synthetic_size, progress=True)
    generate_dataset(output / "unseen", 0, 0, _IMAGES.value, seed=UNSEEN_SEED, progress=True)
    jax.config.update("jax_compilation_cache_dir", str(output / "compiled"))
    plain = {"task": "detect", "preset": "small", "detector": preset.detector.replace(**PLAIN)}
    start = output / "start"
    if (
        not _RANDOM.value and not _WEIGHTS.value and not RunDirectory(start).has_evaluation()
    ):  # a run is evaluated at its very end
        train({**plain, "data_dir": str(output / "data"), "max_steps": _START.value}, start)
    missing = list(_missing_runs(output))
    for name, seed in missing:
        if len(missing) == 1:
            _train_and_evaluate(output, start, name, seed)
        else:  # in a process of its own, because the allocator keeps the gigabytes of a finished run's images
            selection = (f"--variants={name}", f"--seeds={seed}", f"--output={output}")
            flags_given = (flag for flag in (_START, _STEPS, _IMAGES, _RANDOM, _WEIGHTS) if flag.value is not None)
            settings = (f"--{flag.name}={flag.value}" for flag in flags_given)
            subprocess.run([sys.executable, __file__, *selection, *settings], check=True)
    print(table(read_results(output)))


def _train_and_evaluate(output: Path, start: Path, name: str, seed: int) -> None:
    """Train and evaluate one variant, and write its figures."""
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
    if _WEIGHTS.value:
        settings |= {"weights": os.path.abspath(_WEIGHTS.value), "detector": detector.replace(train_norm=False)}
    elif not _RANDOM.value:  # unlike with real weights, the tower keeps training: it has only learned for minutes
        settings |= {"weights": str(start), "learning_rate": preset.learning_rate / 2, "backbone": "train"}
    run = train(settings, output / f"{_slug(name)}-{seed}")
    figures = evaluate(run, EvalSettings(data_dir=output / "unseen"))
    row = {key: figures[key] for key in FIGURES}
    row |= {"per_class": {c: v["map_50"] for c, v in figures["per_class"].items()}}
    row |= {"minutes": (time.monotonic() - begin) / 60, "detector": dataclasses.asdict(detector)}
    start_steps = 0 if _RANDOM.value or _WEIGHTS.value else _START.value
    start_of_run = "weights" if _WEIGHTS.value else "random" if _RANDOM.value else "plain"
    content = {"variant": name, "seed": seed, "start": start_of_run, "start_steps": start_steps, "steps": _STEPS.value}
    content |= row
    write_atomically(output / f"{_slug(name)}-{seed}.result.json", json.dumps(content, indent=2) + "\n")


def _missing_runs(output: Path) -> Iterator[tuple[str, int]]:
    """The variants and seeds that have no result yet."""
    finished = read_results(output)
    for seed in map(int, _SEEDS.value):
        for name in _variants():
            if str(seed) not in finished.get(name, {}):
                yield name, seed


def _variants() -> list[str]:
    """The rows that the flags name."""
    return list(_VARIANTS.value or (FROM_DEFAULT if _WEIGHTS.value else VARIANTS))


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def read_results(output: Path) -> dict[str, dict[str, Any]]:
    """The figures of the finished runs, by variant and seed."""
    results: dict[str, dict[str, Any]] = {}
    for path in sorted(output.glob("*.result.json")):
        result = json.loads(path.read_text())
        name = RENAMED_VARIANTS.get(result["variant"], result["variant"])
        results.setdefault(name, {})[str(result["seed"])] = result
    return {name: results[name] for name in VARIANTS if name in results}


def table(results: dict[str, dict[str, Any]]) -> str:
    """A Markdown table: the mean and standard deviation over the seeds, and the mean difference from `full`
    (from `default`, if that is missing) with the same seeds, with its standard error."""
    reference = "full" if "full" in results else "default"
    heads = f"| variant | seeds | mAP@50 | mAP | mAP@50 minus that of `{reference}` |"
    lines = [heads, "| --- | --- | --- | --- | --- |"]
    full = results.get(reference, {})
    for name, runs in results.items():
        cells = [name, str(len(runs))]
        for key in ("map_50", "map"):
            cells.append(_spread([100 * run[key] for run in runs.values()]))
        pairs = [100 * (run["map_50"] - full[seed]["map_50"]) for seed, run in runs.items() if seed in full]
        error = f" ± {statistics.stdev(pairs) / len(pairs) ** 0.5:.1f}" if len(pairs) > 1 else ""
        cells.append(f"{statistics.mean(pairs):+.1f}{error}" if pairs and name != reference else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation} %"


if __name__ == "__main__":
    errors.run(main)
