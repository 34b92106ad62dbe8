"""The sheet: every part in processes and time of its own, written to a folder as soon as it is measured.

A folder holds `PART.json` for each part, `PART.log` with what its processes printed, and `sheet.md`, which is made of
the JSON files. Started again, the sheet goes on with the parts that are missing.
"""

import json
import math
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from remoteclip_jax.benchmark.jobs import merged, run_job
from remoteclip_jax.benchmark.parts import LONGEST_MINUTES, PART_NAMES, Part
from remoteclip_jax.benchmark.sheet_table import sheet_table
from remoteclip_jax.errors import UserError
from remoteclip_jax.files.json_files import read_json
from remoteclip_jax.files.writing import write_atomically

LEAST_SECONDS = 20.0  # with less time no part is begun

# What every PART.json has. Figures are by task, then by the keys of the measurements.
PART_FIELDS = {
    "part": str,
    "command": str,
    "date": str,
    "preset": (str, type(None)),
    "seconds": float,
    "failed": (str, type(None)),
    "figures": {str: {str: object}},
}


def fill_sheet(
    parts: Sequence[Part], folder: Path, minutes: float, preset: str | None, say: Callable[[str], object] = print
) -> None:
    """Measure the parts that `folder` lacks, for at most `minutes` in total, and tell in a line each how they went.
    UserError if the folder's figures are those of another preset."""
    deadline = time.monotonic() + 60 * minutes
    before = _stored(folder, preset)
    complete = {name for name, part in before.items() if part["failed"] is None}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        # What failed before comes last, so that it cannot use up the time of the others again and again.
        for part in sorted(parts, key=lambda part: part.name in before):
            if part.name in complete:
                say(f"{part.name}: measured before")
            elif deadline - time.monotonic() < LEAST_SECONDS:
                say(f"{part.name}: not begun, the {minutes:g} minutes are over; the same command goes on here")
            else:
                say(_measure(part, folder, Path(scratch), deadline, preset))


def measure_alone(part: Part, folder: Path, preset: str | None, say: Callable[[str], object] = print) -> None:
    """Measure one part, even if `folder` has it. UserError if the folder's figures are those of another preset."""
    _stored(folder, preset)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        say(_measure(part, folder, Path(scratch), math.inf, preset))


def _measure(part: Part, folder: Path, scratch: Path, deadline: float, preset: str | None) -> str:
    """Measure a part until `deadline` (by `time.monotonic`) at most, and write it and the sheet. Returns a line that
    says how it went. Programs that are compiled are kept in `scratch`."""
    begin = time.monotonic()
    end = min(deadline, begin + 60 * min(part.minutes, LONGEST_MINUTES))
    figures: dict[str, Any] = {}
    failed = None
    (log := folder / f"{part.name}.log").unlink(missing_ok=True)
    for job in part.jobs:
        outcome = run_job(job, scratch, max(0.0, end - time.monotonic()), log)
        figures = merged(figures, {job.settings["task"]: outcome.figures})
        if outcome.failed is not None:
            failed = outcome.failed
            break
    result = {
        "part": part.name,
        "command": shlex.join(["python", "-m", "remoteclip_jax.benchmark", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "preset": preset,
        "seconds": time.monotonic() - begin,
        "failed": failed,
        "figures": figures,
    }
    write_atomically(folder / f"{part.name}.json", json.dumps(result, indent=2) + "\n")
    write_atomically(folder / "sheet.md", sheet_table(list(_stored(folder, preset).values())))
    if failed is not None:
        return f"{part.name}: {failed} ({log}); the same command tries again"
    skipped = [f["skipped"] for f in figures.values() if "skipped" in f]
    return f"{part.name}: " + (f"left out: {skipped[0]}" if skipped else f"measured in {result['seconds']:.0f} s")


def _stored(folder: Path, preset: str | None) -> dict[str, dict[str, Any]]:
    """The parts in `folder` by name, in the sheet's order."""
    paths = {name: folder / f"{name}.json" for name in PART_NAMES}
    found = {name: read_json(path, PART_FIELDS) for name, path in paths.items() if path.exists()}
    if other := next((name for name, part in found.items() if part["preset"] != preset), None):
        was = found[other]["preset"] or "the default"
        raise UserError(f"--output={folder} has figures of another preset ({other}: {was}): choose another folder")
    return found
