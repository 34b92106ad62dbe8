"""Measure the speed of training and inference: of one task, `python -m remoteclip_jax.benchmark --task={align,detect}`;
or of all that is documented of a device, part by part, `--sheet --output=DIR`."""

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

from absl import flags

from remoteclip_jax import errors
from remoteclip_jax.benchmark.parts import PART_NAMES, sheet_parts
from remoteclip_jax.benchmark.report import Options, report_text, task_figures
from remoteclip_jax.benchmark.sheet import fill_sheet, measure_alone
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.path_flags import DEFINE_path

SETTINGS = (
    flags.DEFINE_enum("task", "align", ["align", "detect"], "the task to measure"),
    flags.DEFINE_string("preset", None, "as for train.py"),
    flags.DEFINE_integer("batch_size", None, "images per step (the preset's)"),
    flags.DEFINE_integer("image_size", None, "pixels (the preset's)"),
    flags.DEFINE_enum("dtype", None, ["float32", "bfloat16"], "compute type (the preset's)"),
    DEFINE_path("data_dir", None, "images to read (synthetic ones)"),
)
_STEPS = flags.DEFINE_integer("steps", 20, "training steps to time, and pairs of steps to compare, at least ten")
_TORCH = flags.DEFINE_bool("compare_torch", False, "also time the same step in PyTorch (--task=align)")
_TORCH_COMPILE = flags.DEFINE_enum(
    "torch_compile", None, ["no", "default", "max-autotune"], "mode of torch.compile (on a GPU default, else no)"
)
_TORCH_MINUTES = flags.DEFINE_float("torch_minutes", 5.0, "at most this long for PyTorch's side")
_PROFILE = DEFINE_path("profile_dir", None, "write an XLA trace to this folder, and print a summary")
_JSON = DEFINE_path("json", None, "write the figures to this file")
_SHEET = flags.DEFINE_bool("sheet", False, "measure all parts that --output lacks")
_PART = flags.DEFINE_enum("part", None, list(PART_NAMES), "measure this part of the sheet again, alone")
_MINUTES = flags.DEFINE_float("minutes", None, "at most this long for the sheet (60), or for the part (the part's own)")
_OUTPUT = DEFINE_path("output", "runs/benchmark", "folder of the sheet: PART.json, PART.log and sheet.md")

# Of a single task's report. The sheet's parts have settings of their own.
_REPORT_ONLY = (
    "task",
    "batch_size",
    "image_size",
    "dtype",
    "steps",
    "compare_torch",
    "torch_minutes",
    "profile_dir",
    "json",
)


def main() -> None:
    """Fill the sheet, or measure the task that the flags name and print the figures."""
    if _STEPS.value < 1:
        raise errors.UserError(f"--steps={_STEPS.value} must be at least 1")
    for flag in (_MINUTES, _TORCH_MINUTES):
        if flag.value is not None and not flag.value > 0:
            raise errors.UserError(f"--{flag.name}={flag.value:g} must be more than 0")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # ends the measurement in progress, too
    if _SHEET.value or _PART.value:
        _fill_sheet()
    elif _MINUTES.value is not None:
        raise errors.UserError("--minutes is for --sheet and --part; PyTorch's side has --torch_minutes")
    else:
        _report()


def _fill_sheet() -> None:
    if misplaced := next((name for name in _REPORT_ONLY if flags.FLAGS[name].present), None):
        raise errors.UserError(f"--{misplaced} is for the report on one task: leave it out with --sheet and --part")
    preset, data_dir = flags.FLAGS["preset"].value, flags.FLAGS["data_dir"].value
    parts = sheet_parts(preset, data_dir and os.path.abspath(data_dir), _TORCH_COMPILE.value)
    folder = Path(_OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    if _PART.value is None:
        fill_sheet(parts, folder, _MINUTES.value or 60.0, preset)
    else:
        part = next((part for part in parts if part.name == _PART.value), None)
        if part is None:
            raise errors.UserError(f"--part={_PART.value} needs images with boxes to train on: --data_dir=DIR")
        if _MINUTES.value is not None:
            part = dataclasses.replace(part, minutes=_MINUTES.value)
        measure_alone(part, folder, preset)
    print(f"{folder}/sheet.md")


def _report() -> None:
    settings = {flag.name: flag.value for flag in SETTINGS if flag.value is not None}
    if _TORCH.value:
        if settings["task"] != "align":
            raise errors.UserError("--compare_torch works with --task=align only: PyTorch has no such detector")
        from convert import require

        for module in ("torch", "open_clip", "torchvision"):
            require(module)
    if _JSON.value and not os.access(Path(_JSON.value).absolute().parent, os.W_OK):
        raise errors.UserError(f"--json={_JSON.value}: this folder is missing, or cannot be written")
    folder = Path(_PROFILE.value) if _PROFILE.value else None
    torch_minutes = _TORCH_MINUTES.value if _TORCH.value else None
    figures = task_figures(settings, Options(_STEPS.value, folder, torch_minutes, _TORCH_COMPILE.value))
    print(report_text(figures))
    if folder is not None:
        print(f"\ntrace for TensorBoard or Perfetto: {folder}")
    if _JSON.value:
        write_atomically(Path(_JSON.value), json.dumps(figures, indent=2) + "\n")


def run() -> None:
    """The command `remoteclip-benchmark`."""
    errors.run(main)
