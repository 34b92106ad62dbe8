"""A run that was interrupted continues as if it had not been: from within an epoch, and with data that have
moved. With other classes or other data it is refused."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from remoteclip_jax.data.classes import DIOR_CLASSES
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.checkpoints import Checkpoints
from remoteclip_jax.runs.metrics_log import read_rows
from remoteclip_jax.tasks.align.task import ranking
from remoteclip_jax.tasks.configuration import load_config, new_config
from remoteclip_jax.tasks.training import train
from remoteclip_jax.training import epochs
from remoteclip_jax.training.interrupt import Interrupted
from remoteclip_jax.training.meter import Meter
from remoteclip_jax.training.plan import Plan
from tests.commands.test_end_to_end import final_bits, rows_without_times
from tests.data.sample_datasets import write_class_folders

TINY = {"preset": "tiny", "epochs": 3, "checkpoint_every": 10}  # the length of `align_run`


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Calls something when a step has ended, once."""
    add = Meter.add

    def arrange(step: int, action: Callable[[], object]) -> None:
        def adding(self: Meter, done: int, metrics: Any) -> Any:
            result = add(self, done, metrics)
            if done == step:
                monkeypatch.setattr(Meter, "add", add)
                action()
            return result

        monkeypatch.setattr(Meter, "add", adding)

    return arrange


def killed() -> None:
    raise RuntimeError("killed")


def assert_equal(run: Path, other: Path) -> None:
    assert rows_without_times(run) == rows_without_times(other)
    assert final_bits(run) == final_bits(other)


def test_killed_within_an_epoch(
    align_run: Path, synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_step: Any
) -> None:
    """Saved by time after the fourth of nine steps, an epoch being three; killed in the fifth."""
    monkeypatch.setattr(epochs, "MAX_UNSAVED_SECONDS", 0.0)
    at_step(5, killed)
    with pytest.raises(RuntimeError, match="killed"):
        train({**TINY, "data_dir": str(synthetic_data)}, tmp_path / "run")
    with Checkpoints(tmp_path / "run" / "checkpoints", ranking) as checkpoints:
        assert checkpoints.latest_step() == 4
        assert checkpoints.best_step() == 3  # what was validated goes before what was saved on the way
    monkeypatch.undo()
    train({}, tmp_path / "run")
    assert_equal(tmp_path / "run", align_run)


def test_a_signal_saves_the_step(align_run: Path, synthetic_data: Path, tmp_path: Path, at_step: Any) -> None:
    """In the middle of an epoch, then at the end of one."""
    settings, run = {**TINY, "data_dir": str(synthetic_data)}, tmp_path / "run"
    before = signal.getsignal(signal.SIGTERM)
    for step, number in ((4, signal.SIGTERM), (6, signal.SIGINT)):
        at_step(step, lambda number=number: signal.raise_signal(number))
        with pytest.raises(Interrupted, match=f"interrupted at step {step}, which is saved") as caught:
            train(settings, run)
        assert caught.value.code == 128 + number
        assert signal.getsignal(signal.SIGTERM) is before
    train({}, run)
    assert_equal(run, align_run)


def test_step_counts_that_were_fitted_on_the_way_are_repeated(
    align_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_step: Any
) -> None:
    """From the ninth step on eighteen steps, from the twelfth on sixteen, from the 14th on 17, with a learning rate
    that depends on them."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for run in (whole, broken):
        shutil.copytree(align_run, run)
        config = json.loads((run / "config.json").read_text())
        fits = [[0, 18, 0], [12, 16, 0], [14, 17, 0]]
        changes = {"schedule": "cosine", "total_steps": 17, "fits": fits}
        (run / "config.json").write_text(json.dumps({**config, **changes}))
    train({}, whole)
    assert [row["step"] for row in read_rows(whole / "metrics.jsonl")] == [3, 6, 9, 12, 15, 17]
    monkeypatch.setattr(epochs, "MAX_UNSAVED_SECONDS", 0.0)
    at_step(14, killed)
    with pytest.raises(RuntimeError, match="killed"):
        train({}, broken)
    train({}, broken)
    assert_equal(broken, whole)


def test_a_plan_continues_from_where_a_run_stands(tmp_path: Path) -> None:
    config = load_config(_config(tmp_path, total_steps=9, first_steps=3, fits=[[0, 10, 4], [3, 8, 3], [6, 9, 3]]))
    plan = Plan(config, tmp_path / "config.json", 4)
    assert (plan.total, plan.first_steps) == (8, 3)
    assert not plan.after_step(5, ended=True)
    assert plan.after_step(6, ended=False)  # repeated at the step where it was made
    assert (plan.total, plan.first_steps) == (9, 3)
    assert Plan(config, tmp_path / "config.json", 3).total == 8
    assert Plan(config, tmp_path / "config.json", 0).total == 10


def _config(folder: Path, **changes: Any) -> Path:
    new_config({}).save(folder / "config.json")
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **changes}))
    return folder / "config.json"


def test_data_that_have_moved_are_named_again(align_run: Path, synthetic_data: Path, tmp_path: Path) -> None:
    moved, run = tmp_path / "moved", tmp_path / "run"
    shutil.copytree(synthetic_data, moved)
    shutil.copytree(align_run, run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "data_dir": str(tmp_path / "gone")}))
    with pytest.raises(UserError, match=r"gone: no such directory; if the run's data have moved.*--data_dir"):
        train({"epochs": 4}, run)
    train({"epochs": 4, "data_dir": str(moved)}, run)
    assert [row["epoch"] for row in read_rows(run / "metrics.jsonl")] == [1, 2, 3, 4]
    assert load_config(run / "config.json").data_dir == str(moved)


def test_other_data_under_the_same_name_are_refused(align_run: Path, synthetic_data: Path, tmp_path: Path) -> None:
    changed, run = tmp_path / "changed", tmp_path / "run"
    shutil.copytree(synthetic_data, changed)
    shutil.copytree(align_run, run)
    lines = (changed / "splits/train.txt").read_text().splitlines()
    (changed / "splits/train.txt").write_text("\n".join(lines[:-1]))
    before = final_bits(run)
    (changed / "splits/val.txt").rename(tmp_path / "val.txt")
    with pytest.raises(UserError, match=r"begun with other data: .* of the split 'train' are not"):
        train({"epochs": 4, "data_dir": str(changed)}, run)
    (tmp_path / "val.txt").rename(changed / "splits/val.txt")
    with pytest.raises(UserError, match=r"begun with other data: .* of the split 'train' are not"):
        train({"epochs": 4, "data_dir": str(changed)}, run)
    assert final_bits(run) == before


def test_a_class_that_was_renamed_or_added_is_refused(align_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(align_run, tmp_path / "run"))
    for split in ("train", "val"):
        write_class_folders(tmp_path / "scenes", split, **dict.fromkeys({*DIOR_CLASSES, "weir"} - {"dam"}, 1))
    settings = {"epochs": 4, "data_dir": str(tmp_path / "scenes")}
    with pytest.raises(UserError, match="begun with other classes: dam is gone and weir is new"):
        train(settings, run)
    for split in ("train", "val"):
        (tmp_path / "scenes" / split / "weir").rename(tmp_path / "scenes" / split / "dam")
        write_class_folders(tmp_path / "scenes", split, beach=1)
    with pytest.raises(UserError, match="begun with other classes: beach is new"):
        train(settings, run)


def test_classes_in_another_order_are_refused_and_a_lost_list_is_not_needed(
    synthetic_data: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(DIOR_CLASSES))
    settings = {"preset": "tiny", "data_dir": str(synthetic_data), "classes": str(names), "max_steps": 1}
    run = train(settings, tmp_path / "run")
    names.write_text("\n".join(reversed(DIOR_CLASSES)))
    with pytest.raises(UserError, match="another order, which was airplane, airport, baseballfield"):
        train({"max_steps": 2}, run)
    names.unlink()
    with pytest.raises(UserError, match=r"--classes=.*names.txt: no such file"):
        train({"max_steps": 2, "classes": str(names)}, run)
    train({"max_steps": 2}, run)
    assert read_rows(run / "metrics.jsonl")[-1]["step"] == 2
    with np.load(run / "text_embeddings.npz") as stored:
        assert tuple(stored["class_names"]) == DIOR_CLASSES
