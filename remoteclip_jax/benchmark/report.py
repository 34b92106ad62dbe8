"""The report on one task: its measurements one after the other, their figures together."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from remoteclip_jax.benchmark.jobs import Job, merged, run_job
from remoteclip_jax.benchmark.parts import INFERENCE_BATCHES, inference_job
from remoteclip_jax.benchmark.tables import device_text, figure_rows, operations_table, settings_text
from remoteclip_jax.errors import UserError

# Without the comparison with PyTorch.
NO_RATIOS = dict.fromkeys(("torch_ratio", "torch_ratio_min", "torch_ratio_max", "input_ratio"))


@dataclass(frozen=True)
class Options:
    """What to measure: `steps` of training; a profile if there is a folder for its trace; and PyTorch's side for at
    most `torch_minutes`, if any, with the mode `torch_compile`."""

    steps: int
    profile_dir: Path | None
    torch_minutes: float | None
    torch_compile: str | None


def task_figures(settings: dict[str, Any], options: Options) -> dict[str, Any]:
    """The figures by the keys of `--json`. What PyTorch's side lacks is told by `torch_failed`; UserError if anything
    else fails."""
    jobs = [Job("step", settings, {"steps": options.steps}), Job("restart", settings), inference_job(settings)]
    if options.profile_dir:
        jobs.append(Job("profile", settings, {"trace_dir": str(options.profile_dir.absolute())}))
    if options.torch_minutes:
        batches = INFERENCE_BATCHES[settings["task"]]
        torch = {"steps": options.steps, "compile_mode": options.torch_compile, "batch_sizes": batches}
        jobs.append(Job("torch", settings, torch))
    figures: dict[str, Any] = dict(NO_RATIOS)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, tqdm(jobs, unit="part", disable=None) as bar:
        for job in bar:
            bar.set_description(job.kind)
            is_torch = job.kind == "torch"
            seconds = 60 * options.torch_minutes if is_torch and options.torch_minutes else None
            outcome = run_job(job, Path(folder), seconds)
            figures = merged(figures, outcome.figures)
            if outcome.failed and not is_torch:
                raise UserError(outcome.failed)
            if outcome.failed:
                figures["torch_failed"] = outcome.failed
    return figures


def report_text(figures: dict[str, Any]) -> str:
    """The figures of `task_figures` as a table, and the most expensive operations if there is a profile."""
    rows = [("", settings_text(figures)), ("device", device_text(figures)), *figure_rows(figures)]
    if "torch_failed" in figures:
        rows.append(("PyTorch", figures["torch_failed"]))
    text = "\n".join(f"{name:<15}{value}" for name, value in rows)
    return text + ("\n\n" + operations_table(figures["operations"]) if "operations" in figures else "")
