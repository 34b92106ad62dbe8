"""pmap over two devices equals one device on the whole batch: batch norm sees all of it, gradients are averaged."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.clip.model import CLIP, init
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.metrics_log import read_rows
from remoteclip_jax.runtime.devices import AXIS, check_batch_size, check_processes, parallel, replicate, split_batch
from remoteclip_jax.tasks.align.loss import make_align_loss
from remoteclip_jax.training.optimizer import make_optimizer, make_schedule
from remoteclip_jax.training.state import TrainState, create_state
from remoteclip_jax.training.step import make_train_step
from tests.command import run

TINY = ARCHITECTURES["tiny"]
pytestmark = pytest.mark.skipif(jax.local_device_count() != 2, reason="needs the two forced CPU devices of conftest.py")


def steps(axis_name: str | None, variables: Any, batches: list[Any]) -> tuple[TrainState, list[float]]:
    config = TrainConfig(learning_rate=1e-3, image_size=64)
    optimizer = make_optimizer(config)
    model = CLIP(TINY, axis_name=axis_name)
    loss = make_align_loss(model, jnp.eye(20, TINY.embed_dim), 0.07)
    function = make_train_step(loss, optimizer, make_schedule(config), axis_name=axis_name)
    state = replicate(create_state(variables, optimizer, 3))
    step = parallel(function, donate_first=True) if axis_name else jax.jit(function)
    losses = []
    for batch in batches:
        state, metrics = step(state, split_batch(batch) if axis_name else batch)
        losses.append(float(metrics["loss"]))
    return state, losses


def test_two_devices_train_as_one() -> None:
    rng = np.random.default_rng(0)
    variables = init(TINY, jax.random.key(0))
    batches = [
        {
            "image": rng.integers(0, 256, (8, 64, 64, 3), np.uint8),
            "target": np.eye(20, dtype=np.float32)[rng.integers(0, 20, 8)],
        }
        for _ in range(3)
    ]
    one, losses_one = steps(None, variables, batches)
    two, losses_two = steps(AXIS, variables, batches)
    np.testing.assert_allclose(losses_two, losses_one, rtol=1e-4)
    for a, b in zip(jax.tree.leaves(one.batch_stats), jax.tree.leaves(two.batch_stats), strict=True):
        assert np.linalg.norm(a - b) <= 1e-3 * np.linalg.norm(b)


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


GO_ON = """
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


def test_any_number_of_devices_trains_evaluates_and_goes_on_as_any_other(drawn_data: Path, tmp_path: Path) -> None:
    """Trained on one, two and four, then loaded, evaluated and gone on with on another number; also where the last
    batch of an evaluation is not full: there are ten validation images."""
    rows, figures = {}, {}
    for count, other in ((1, 4), (2, 1), (4, 2)):
        workdir = tmp_path / str(count)
        flags = (f"--data_dir={drawn_data}", f"--workdir={workdir}", "--preset=tiny", "--max_steps=4")
        result = run("train.py", *flags, devices=count)
        assert result.returncode == 0, result.stderr[-2000:]
        result = run("-c", GO_ON, workdir, devices=other)
        assert result.returncode == 0, result.stderr[-2000:]
        rows[count] = read_rows(workdir / "metrics.jsonl")
        figures[count] = json.loads(result.stdout.splitlines()[-1])
    assert [row["step"] for row in rows[1]] == [3, 4, 6]
    for count in (2, 4):
        for row, one in zip(rows[count], rows[1], strict=True):
            assert row["loss"] == pytest.approx(one["loss"], rel=1e-3)
            assert row["val_loss"] == pytest.approx(one["val_loss"], rel=1e-2)
            assert row["val_top1"] == one["val_top1"]
        for found, one in zip(figures[count], figures[1], strict=True):
            assert found["loss"] == pytest.approx(one["loss"], rel=1e-2)
            assert found["top1"] == one["top1"]
