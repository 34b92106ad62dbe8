"""A small run of `contrast`, made once."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import made_once

SETTINGS: dict[str, Any] = {
    "task": "contrast",
    "preset": "tiny",
    "batch_size": 8,
    "epochs": 3,
    "checkpoint_every": 2,
    "validations": 3,
}


@pytest.fixture(scope="session")
def contrast_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny towers after three epochs of three steps on synthetic images of its own, in the run's `data`, with
    checkpoints after the second and the third. Not to be changed."""
    from remoteclip_jax.tasks.training import train

    counts = {"synthetic_train": 20, "synthetic_val": 8, "synthetic_test": 8, "synthetic_size": 96}
    return made_once(tmp_path_factory, "contrast", lambda directory: train({**SETTINGS, **counts}, directory))


@pytest.fixture
def settings(contrast_run: Path) -> dict[str, Any]:
    """The settings of a training that equals `contrast_run`, on its data."""
    return {**SETTINGS, "data_dir": str(contrast_run / "data")}
