"""Measurements in processes of their own, each ended when its time is up.

The process that starts them never touches the device. So a measurement has all of the device's memory, XLA's flags can
differ between measurements, and one that hangs, such as a compiler, can be stopped.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remoteclip_jax.files.writing import write_atomically

# CUDA graphs show as a single operation in a trace: without them, the kernels do.
PROFILE_FLAGS = "--xla_gpu_enable_command_buffer="


@dataclass(frozen=True)
class Job:
    """A measurement: its `kind` (see `worker.MEASUREMENTS`), the settings of a configuration, and its own options."""

    kind: str
    settings: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a job measured before it ended, and in one line why it failed; None if it did not."""

    figures: dict[str, Any]
    failed: str | None


def run_job(job: Job, folder: Path, seconds: float | None = None, log: Path | None = None) -> Outcome:
    """Run a job for at most `seconds` (None: as long as it takes). It leaves compiled programs in `folder`, for the
    jobs after it; training begins without any. Its output goes to the file `log`, else to stderr."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch, contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("ab")) if log else sys.stderr
        result = Path(scratch, "result.json")
        programs = Path(scratch if job.kind == "train" else folder, "programs")
        order = {**vars(job), "launched": time.time(), "seconds": seconds, "scratch": scratch, "result": str(result)}
        process = subprocess.Popen(
            [sys.executable, "-m", "remoteclip_jax.benchmark.worker", json.dumps(order)],
            env=_environment(job.kind, programs),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that the processes that it starts end with it
        )
        failed = None
        try:
            if code := process.wait(seconds):
                failed = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        except subprocess.TimeoutExpired:
            failed = f"did not end within {seconds:.0f} s, and was stopped"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        found = json.loads(result.read_text()) if result.exists() else {}
    return Outcome(found.get("figures", {}), found.get("failed") or failed)


def write_result(path: Path, figures: dict[str, Any], failed: str | None) -> None:
    """Write what `run_job` reads. A measurement does so whenever it has more figures."""
    write_atomically(path, json.dumps({"figures": figures, "failed": failed}))


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with the entries of `new`; objects in both are merged alike."""
    result = dict(old)
    for key, value in new.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def _environment(kind: str, programs: Path) -> dict[str, str]:
    """This process's environment, with what JAX reads before it starts."""
    own = {"JAX_COMPILATION_CACHE_DIR": str(programs), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    if kind == "profile":
        own["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {PROFILE_FLAGS}".strip()
    if kind == "torch":  # two frameworks share the device's memory
        own["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    return {**os.environ, **own}
