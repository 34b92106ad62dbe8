"""Runs the command lines as a user does, in a process of their own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
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
    (error,) = error_lines(result)
    return error


EACH = """
import importlib, json, sys
from absl import flags
module, without_jax, cases = json.loads(sys.argv[1])
if without_jax:
    sys.modules["jax"] = None  # `import jax` is an error
command = importlib.import_module(module)
start = getattr(command, "command", command.run)  # `command` in convert/
for arguments in cases:
    sys.argv = [module, *arguments]
    flags.FLAGS.unparse_flags()
    try:
        start()
    except SystemExit as e:
        print("exit", e.code)
"""


def all_fail(module: str, *cases: Sequence[str | Path], without_jax: bool = False) -> list[str]:
    """As `fails`, for the command in `module` with each of these arguments, in one process, for starting is slow."""
    arguments = [list(map(str, case)) for case in cases]
    result = run("-c", EACH, json.dumps([module, without_jax, arguments]))
    exits = [line for line in result.stdout.splitlines() if line.startswith("exit ")]
    assert exits == ["exit 2"] * len(cases), (exits, result.stderr[-2000:])
    errors = error_lines(result)
    assert len(errors) == len(cases), errors
    return errors


def error_lines(result: subprocess.CompletedProcess[str]) -> list[str]:
    assert "Traceback" not in result.stderr
    return [line for line in result.stderr.splitlines() if line.startswith("error: ")]
