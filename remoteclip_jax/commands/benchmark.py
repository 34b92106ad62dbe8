"""Measure the speed of training and inference: `python -m remoteclip_jax.benchmark --task={align,detect}`."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from absl import flags

from remoteclip_jax import errors
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
_PROFILE = DEFINE_path("profile_dir", None, "write an XLA trace to this folder, and print a summary")
_JSON = DEFINE_path("json", None, "write the figures to this file")


def main() -> None:
    """Measure the task that the flags name, and print the figures."""
    settings = {flag.name: flag.value for flag in SETTINGS if flag.value is not None}
    if _STEPS.value < 1:
        raise errors.UserError(f"--steps={_STEPS.value} must be at least 1")
    if _TORCH.value:
        if settings["task"] != "align":
            raise errors.UserError("--compare_torch works with --task=align only: PyTorch has no such detector")
        from convert import require

        for module in ("torch", "open_clip", "torchvision"):
            require(module)
    if _JSON.value and not os.access(Path(_JSON.value).absolute().parent, os.W_OK):
        raise errors.UserError(f"--json={_JSON.value}: this folder is missing, or cannot be written")

    from remoteclip_jax.benchmark.measure import Options, measure
    from remoteclip_jax.runs.directory import RunDirectory
    from remoteclip_jax.runtime.memory import keep_freed_memory

    keep_freed_memory()
    folder = Path(_PROFILE.value) if _PROFILE.value else None
    with tempfile.TemporaryDirectory() as scratch:
        options = Options(_STEPS.value, _TORCH.value, folder)
        figures, profile = measure(settings, options, RunDirectory(Path(scratch)))
    print(figures_table(figures))
    if profile is not None:
        print("\n" + profile_tables(profile))
        print(f"\ntrace for TensorBoard or Perfetto: {folder}")
    if _JSON.value:
        write_atomically(Path(_JSON.value), json.dumps(figures, indent=2) + "\n")


def figures_table(f: dict[str, Any]) -> str:
    """The figures of `measure` as a table."""
    low, high = f["iterations_per_sec_quartiles"]
    rows = [
        ("", f"{f['task']}, {f['arch']}, batch {f['batch_size']}, {f['image_size']} pixels, {f['dtype']}"),
        ("device", f"{f['device']}; " + ", ".join(f"{name} {version}" for name, version in f["versions"].items())),
        (
            "training",
            f"{f['iterations_per_sec']:.3g} iterations/s ({low:.3g} to {high:.3g}, quartiles), "
            f"{f['images_per_sec']:.3g} images/s",
        ),
        ("compiling", f"{f['compile_sec']:.1f} s, from the persistent cache {f['compile_sec_cached']:.1f} s"),
        ("a step", f"{f['flops_per_step'] / 1e9:.1f} GFLOP, {f['bytes_per_step'] / 1e9:.2f} GB read and written"),
        ("achieved", f"{f['flops_per_sec'] / 1e9:.1f} GFLOP/s, {f['peak_fraction']:.0%} of a large matrix product's"),
        (
            "floor",
            f"{f['floor_sec']:.3g} s per step at the device's {f['peak_flops_per_sec'] / 1e9:.0f} GFLOP/s and "
            f"{f['bandwidth_bytes_per_sec'] / 1e9:.0f} GB/s; measured {1 / f['iterations_per_sec']:.3g} s",
        ),
        ("peak memory", f"{f['peak_memory_bytes'] / 2**30:.2f} GiB"),
        (
            "real input",
            f"{f['input_overhead']:.3f} times a step on random tensors "
            f"({f['input_overhead_quartiles'][0]:.3f} to {f['input_overhead_quartiles'][1]:.3f})",
        ),
        (
            "input alone",
            f"{f['input_images_per_sec']:.0f} images/s, {f['input_images_per_sec_decoded']:.0f} once they are decoded",
        ),
    ]
    for size, inference in f["inference"].items():
        comparison = f", {_ratio(inference)} PyTorch's speed" if "torch_ratio" in inference else ""
        value = f"{inference['images_per_sec']:.3g} images/s, {inference['milliseconds']:.1f} ms{comparison}"
        rows.append((f"inference, {size}", value))
    if f["torch_ratio"] is not None:
        rows += [
            ("training", f"{_ratio(f)} PyTorch's speed in {f['torch_pairs']} pairs ({f['torch_memory_format']})"),
            ("losses", f"{f['loss']:.6f}, PyTorch's {f['torch_loss']:.6f}"),
            ("reading files", f"{f['input_ratio']:.2f} times torchvision's speed on one core"),
        ]
    return "\n".join(f"{name:<14}{value}" for name, value in rows)


def _ratio(f: dict[str, Any]) -> str:
    return f"{f['torch_ratio']:.2f} ({f['torch_ratio_min']:.2f} to {f['torch_ratio_max']:.2f}) times"


def profile_tables(profile: Any) -> str:
    """The ten most expensive operations, and the shares of time by kind and by stage of the model."""
    lines = ["share  kind           operation, where"]
    for operation in profile.operations[:10]:
        path = operation.instruction.path.rsplit("jvp", 1)[-1][-70:]
        lines.append(f"{operation.share:5.1%}  {operation.instruction.kind:<14} {operation.name}, {path}")
    for shares in (profile.kinds, profile.stages):
        lines += ["", *(f"{share:5.1%}  {name}" for name, share in shares.items() if share >= 0.0005)]
    return "\n".join(lines)


def run() -> None:
    """The command `remoteclip-benchmark`."""
    errors.run(main)
