"""Training on several devices equals training on one: batch statistics and gradients are those of the whole batch."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.checkpoints import Checkpoints
from remoteclip_jax.runs.metrics_log import read_rows
from remoteclip_jax.runtime.devices import check_batch_size, check_processes, parallel, replicate, split_batch
from remoteclip_jax.tasks.align.task import ranking
from remoteclip_jax.tasks.training import train
from tests.command import run

pytestmark = pytest.mark.skipif(jax.local_device_count() != 2, reason="needs the two forced CPU devices of conftest.py")


def test_donating_a_replicated_state_leaves_the_original_alone() -> None:
    original = {"w": jnp.ones(4)}
    step = parallel(lambda state, batch: jax.tree.map(lambda x: x + 1, state), donate_first=True)
    moved = step(replicate(original), split_batch({"image": np.zeros((2, 1))}))
    np.testing.assert_array_equal(original["w"], 1)
    np.testing.assert_array_equal(moved["w"], 2)


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match="multiple of the 2 devices"):
        check_batch_size(7)


def test_one_of_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_processes()
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(UserError, match=r"one of 2 processes .* start one process"):
        check_processes()


CONTINUE = """
import json, sys
from pathlib import Path
from remoteclip_jax.runs.evaluation_data import EvalSettings
from remoteclip_jax.tasks.evaluating import evaluate
from remoteclip_jax.tasks.training import train
run = Path(sys.argv[1])
first = evaluate(run, EvalSettings(split="val"))
train({"max_steps": 6}, run)
print(json.dumps([first, evaluate(run, EvalSettings(split="val"))]))
"""


def continued(workdir: Path, devices: int) -> list[dict[str, Any]]:
    """The evaluations of a run on `devices`, before and after it was continued there to its sixth step."""
    result = run("-c", CONTINUE, workdir, devices=devices)
    assert result.returncode == 0, result.stderr[-2000:]
    evaluations: list[dict[str, Any]] = json.loads(result.stdout.splitlines()[-1])
    return evaluations


def test_any_number_of_devices_trains_evaluates_and_continues_alike(synthetic_data: Path, tmp_path: Path) -> None:
    """One run begins on two devices and is evaluated and continued on one, the other begins on one and continues on
    four. The last batch of an evaluation is not full: there are ten validation images."""
    settings = {"preset": "tiny", "data_dir": str(synthetic_data), "max_steps": 4}
    two, one = train(settings, tmp_path / "two"), tmp_path / "one"
    flags = (f"--data_dir={synthetic_data}", f"--workdir={one}", "--preset=tiny", "--max_steps=4")
    result = run("train.py", *flags, devices=1)
    assert result.returncode == 0, result.stderr[-2000:]
    statistics = [Checkpoints(x / "checkpoints", ranking).restore_weights(4)["batch_stats"] for x in (two, one)]
    for a, b in zip(*map(jax.tree.leaves, statistics), strict=True):
        assert np.linalg.norm(a - b) <= 1e-3 * np.linalg.norm(b)
    evaluations = continued(two, 1), continued(one, 4)
    rows = read_rows(two / "metrics.jsonl"), read_rows(one / "metrics.jsonl")
    assert [row["step"] for row in rows[0]] == [3, 4, 6]
    assert rows[0][0]["loss"] == pytest.approx(rows[1][0]["loss"], rel=1e-4)  # before rounding errors have grown
    for a, b in zip(*rows, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3)
        assert a["val_loss"] == pytest.approx(b["val_loss"], rel=1e-2)
        assert a["val_top1"] == b["val_top1"]
    for a, b in zip(*evaluations, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-2)
        assert a["top1"] == b["top1"]
