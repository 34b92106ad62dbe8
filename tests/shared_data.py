"""Real data beside the checkout: not part of the project, so that tests that use them skip where they are absent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
REPORTS = SHARED.parent / "field_reports"

requires_reports = pytest.mark.skipif(
    not (SHARED.is_dir() and REPORTS.is_dir()), reason="needs ../shared/field_reports, absent here"
)
requires_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs real data in ../shared/data, absent here")


def make_report(name: str, output: Path) -> Path:
    """The files of one report from the field, in `output`."""
    script = next(REPORTS.glob(f"make_{name}_*.py"))
    subprocess.run(
        [sys.executable, script, output], cwd=REPORTS, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    )
    return next(output.iterdir())
