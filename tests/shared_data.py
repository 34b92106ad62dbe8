"""Real data beside the checkout: not part of the project, so that tests that use them skip where they are absent."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

requires_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs real data in ../shared/data, absent here")
