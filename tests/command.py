"""Runs the command lines as a user does, in a process of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def environment(devices: int = 1) -> dict[str, str]:
    """The environment of a process that has this number of CPU devices. It compiles as the tests' own process does."""
    count = re.compile(r"(--xla_force_host_platform_device_count=)\d+")
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": count.sub(rf"\g<1>{devices}", os.environ["XLA_FLAGS"])}


def run(*arguments: str | Path, devices: int = 1) -> subprocess.CompletedProcess[str]:
    """`python ARGUMENTS` at the project's root."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment(devices),
        capture_output=True,
        text=True,
        timeout=600,
    )


def fails(*arguments: str | Path) -> str:
    """The message of a command that must end with exit code 2 and one line `error: …` on stderr."""
    result = run(*arguments)
    assert result.returncode == 2, (result.returncode, result.stderr[-2000:])
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr[-2000:]
    assert "Traceback" not in result.stderr
    return errors[0]
