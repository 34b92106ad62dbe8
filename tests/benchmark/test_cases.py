"""The step that the benchmark times gets its batches as in training."""

import contextlib
from pathlib import Path

import jax
import numpy as np
import pytest

from remoteclip_jax.benchmark.cases import Trainer, make_case
from remoteclip_jax.benchmark.compiling import timed_compile
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.tasks.align import workload
from remoteclip_jax.tasks.align.resident import ResidentImages


@pytest.mark.parametrize("on_device", [False, True])
def test_the_compiled_step_takes_random_and_real_batches(
    synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_device: bool
) -> None:
    """Whether the images live on the device or on the host."""
    placed = []
    place = ResidentImages.place
    monkeypatch.setattr(workload, "free_device_memory", lambda: 2**30 if on_device else 0)
    monkeypatch.setattr(ResidentImages, "place", lambda self, batch: placed.append(batch) or place(self, batch))
    settings = {"task": "align", "preset": "tiny", "data_dir": str(synthetic_data)}
    case = make_case(settings, RunDirectory(tmp_path))
    step = timed_compile(case.step, case.new_state(), case.batch).compiled
    with contextlib.closing(Trainer(case, step)) as trainer, jax.transfer_guard("disallow"):
        results = [trainer.random_step(), trainer.real_step(), trainer.real_step()]
    assert all(np.isfinite(float(metrics["loss"])) for metrics in results)
    assert bool(placed) == on_device
