"""Figures of the measurements as rows of text. A row appears once its figures are there."""

from collections.abc import Iterator, Mapping
from typing import Any

Figures = Mapping[str, Any]
Row = tuple[str, str]


def figure_rows(f: Figures) -> list[Row]:
    """What was measured, and how much: a row for each group of figures in `f`, which are one task's."""
    groups = (_step_rows, _input_rows, _inference_rows, _memory_rows, _profile_rows, _torch_rows, _training_rows)
    return [row for group in groups for row in group(f)]


def device_text(f: Figures) -> str:
    """The device and the versions."""
    return f"{f['device']}; " + ", ".join(f"{name} {version}" for name, version in f["versions"].items())


def settings_text(f: Figures) -> str:
    """The settings that the figures belong to; "" if there are none yet."""
    if "arch" not in f:
        return ""
    preset = f"`{f['preset']}`" if f.get("preset") else ""
    parts = (f["task"], preset, f["arch"], f"batch {f['batch_size']}", f"{f['image_size']} pixels", f["dtype"])
    return ", ".join(part for part in parts if part)


def operations_table(operations: list[Figures]) -> str:
    """The most expensive operations of a profile."""
    lines = ["share  kind           operation, where"]
    for one in operations:
        path = one["path"].rsplit("jvp", 1)[-1][-70:]
        lines.append(f"{one['share']:5.1%}  {one['kind']:<14} {one['name']}, {path}")
    return "\n".join(lines)


def _step_rows(f: Figures) -> Iterator[Row]:
    if "iterations_per_sec" in f and "iterations_per_sec_quartiles" in f:
        low, high = f["iterations_per_sec_quartiles"]
        yield (
            "training",
            f"{_number(f['iterations_per_sec'])} iterations/s ({_number(low)} to {_number(high)}, quartiles), "
            f"{_number(f['images_per_sec'])} images/s",
        )
    if "compile_sec" in f:
        yield "from nothing", _start_text(f, "")
    if "compile_sec_cached" in f:
        yield "from the cache", _start_text(f, "_cached")
    if "flops_per_step" in f:
        yield (
            "a step",
            f"{f['flops_per_step'] / 1e9:,.1f} GFLOP ({f['flops_source']}), "
            f"{f['bytes_per_step'] / 1e9:.2f} GB read and written",
        )
        yield (
            "achieved",
            f"{f['flops_per_sec'] / 1e9:,.1f} GFLOP/s, {f['peak_fraction']:.0%} of a large matrix product's; "
            f"{f['bandwidth_fraction']:.0%} of the bandwidth",
        )
        yield (
            "floor",
            f"{f['floor_sec']:.3g} s per step at the device's {f['peak_flops_per_sec'] / 1e9:,.0f} GFLOP/s and "
            f"{f['bandwidth_bytes_per_sec'] / 1e9:,.0f} GB/s; measured {1 / f['iterations_per_sec']:.3g} s",
        )
    if "peak_memory_bytes" in f:
        program, peak = f["program_memory_bytes"], f["peak_memory_bytes"]
        alone = f"; the compiled step alone {program / 2**30:.2f} GiB" if program != peak else ""
        yield "peak memory", f"{peak / 2**30:.2f} GiB{alone}"


def _start_text(f: Figures, which: str) -> str:
    lowering, total = f[f"lower_sec{which}"], f[f"compile_sec{which}"]
    return (
        f"compiling {total:.1f} s, of which tracing and lowering {lowering:.1f} s; "
        f"variables {f[f'variables_sec{which}']:.1f} s"
    )


def _input_rows(f: Figures) -> Iterator[Row]:
    if "input_overhead" in f:
        low, high = f["input_overhead_quartiles"]
        yield (
            "real input",
            f"{f['input_overhead']:.3f} times a step on random tensors ({low:.3f} to {high:.3f}), "
            f"{_number(f['real_iterations_per_sec'])} iterations/s",
        )
    if "input_images_per_sec" in f:
        yield (
            "input alone",
            f"{_number(f['input_images_per_sec'])} images/s, "
            f"{_number(f['input_images_per_sec_decoded'])} once they are decoded",
        )


def _inference_rows(f: Figures) -> Iterator[Row]:
    for size, one in f.get("inference", {}).items():
        if "images_per_sec" in one:
            pace = f"{_number(one['images_per_sec'])} images/s, {one['milliseconds']:.1f} ms"
            yield f"inference, {size}", f"{pace}; the first call {one['first_call_sec']:.1f} s"
        if "torch_ratio" in one:
            yield f"inference, {size}", f"{_ratio_text(one)} PyTorch's speed"


def _memory_rows(f: Figures) -> Iterator[Row]:
    for size, one in f.get("memory", {}).items():
        yield f"memory, {size}", f"{one['bytes'] / 2**30:.2f} GiB for a step, compiled in {one['compile_sec']:.1f} s"


def _profile_rows(f: Figures) -> Iterator[Row]:
    for name, shares in f.get("profile", {}).items():
        yield f"by {name[:-1]}", ", ".join(f"{k} {share:.1%}" for k, share in shares.items() if share >= 0.0005)


def _torch_rows(f: Figures) -> Iterator[Row]:
    if f.get("torch_ratio") is not None:
        how = f"{f['torch_memory_format']}, compiled: {f['torch_compile']}"
        yield "training", f"{_ratio_text(f)} PyTorch's speed in {f['torch_pairs']} pairs ({how})"
    if "torch_loss" in f:
        yield "losses", f"{f['loss']:.6f}, PyTorch's {f['torch_loss']:.6f}"
    if f.get("input_ratio") is not None:
        yield "reading files", f"{f['input_ratio']:.2f} times torchvision's speed on one core"


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def _ratio_text(f: Figures) -> str:
    return f"{f['torch_ratio']:.2f} ({f['torch_ratio_min']:.2f} to {f['torch_ratio_max']:.2f}) times"


def _training_rows(f: Figures) -> Iterator[Row]:
    if "map" in f:
        scores = (f"{name} {100 * (f[key] or 0):.1f} %" for name, key in (("mAP", "map"), ("mAP@50", "map_50")))
        yield f"on {f['split']}", ", ".join(scores)
    if "first_step_sec" in f:
        yield (
            "a training",
            f"{f['steps']} steps within --max_minutes={f['max_minutes']:g}; the first after "
            f"{f['first_step_sec']:.0f} s, the last after {f['last_step_sec']:.0f} s; "
            f"{f['iterations_per_sec']:.3g} iterations/s, "
            f"{f['iterations_per_sec_with_start']:.3g} with start and validation",
        )
