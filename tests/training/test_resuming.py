"""A run that was interrupted goes on as if it had not been: from within an epoch, without its weights, from data that
have moved; and not at all on other classes or other data."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.clip.model import init
from remoteclip_jax.clip.weights import save_weights
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

TINY = {"preset": "tiny", "epochs": 3, "checkpoint_every": 10}


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


@pytest.fixture(scope="module")
def unbroken(synthetic_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train({**TINY, "data_dir": str(synthetic_data)}, tmp_path_factory.mktemp("runs") / "unbroken")


def assert_equal(run: Path, other: Path) -> None:
    assert rows_without_times(run) == rows_without_times(other)
    assert final_bits(run) == final_bits(other)


def test_killed_within_an_epoch(
    unbroken: Path, synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_step: Any
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
    assert_equal(tmp_path / "run", unbroken)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_step(
    unbroken: Path, synthetic_data: Path, tmp_path: Path, at_step: Any, number: signal.Signals
) -> None:
    at_step(4, lambda: signal.raise_signal(number))
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="interrupted at step 4, which is saved") as caught:
        train({**TINY, "data_dir": str(synthetic_data)}, tmp_path / "run")
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) is before
    train({}, tmp_path / "run")
    assert_equal(tmp_path / "run", unbroken)


def test_a_signal_at_the_end_of_an_epoch(unbroken: Path, synthetic_data: Path, tmp_path: Path, at_step: Any) -> None:
    at_step(6, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Interrupted, match="step 6"):
        train({**TINY, "data_dir": str(synthetic_data)}, tmp_path / "run")
    train({}, tmp_path / "run")
    assert_equal(tmp_path / "run", unbroken)


def test_what_was_fitted_on_the_way_is_repeated(
    synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_step: Any
) -> None:
    """Nine steps, after the third seven, after the fifth eight, under a schedule that depends on them."""
    settings = {**TINY, "data_dir": str(synthetic_data), "schedule": "cosine", "max_steps": 1}
    whole = train(settings, tmp_path / "whole")
    config = json.loads((whole / "config.json").read_text())
    fits = [[0, 9, 0], [3, 7, 0], [5, 8, 0]]
    (whole / "config.json").write_text(json.dumps({**config, "max_steps": None, "total_steps": 8, "fits": fits}))
    broken = tmp_path / "broken"
    shutil.copytree(whole, broken)
    train({}, whole)
    assert [row["step"] for row in read_rows(whole / "metrics.jsonl")] == [1, 3, 6, 8]
    monkeypatch.setattr(epochs, "MAX_UNSAVED_SECONDS", 0.0)
    at_step(5, killed)
    with pytest.raises(RuntimeError, match="killed"):
        train({}, broken)
    train({}, broken)
    assert_equal(broken, whole)


def test_a_plan_knows_where_it_stands(tmp_path: Path) -> None:
    config = load_config(_config(tmp_path, total_steps=9, first_steps=3, fits=[[0, 10, 4], [3, 8, 3], [6, 9, 3]]))
    plan = Plan(config, tmp_path / "config.json", 4)
    assert (plan.total, plan.first_steps) == (8, 3)
    assert not plan.after_step(5)
    assert plan.after_step(6)
    assert (plan.total, plan.first_steps) == (9, 3)
    assert Plan(config, tmp_path / "config.json", 3).total == 8
    assert Plan(config, tmp_path / "config.json", 0).total == 10


def _config(folder: Path, **changes: Any) -> Path:
    new_config({}).save(folder / "config.json")
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **changes}))
    return folder / "config.json"


def test_a_run_needs_its_weights_at_its_first_start_alone(
    synthetic_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights"
    save_weights(weights, ARCHITECTURES["tiny"], init(ARCHITECTURES["tiny"], jax.random.key(5)), {})
    settings = {**TINY, "data_dir": str(synthetic_data), "weights": str(weights), "max_steps": 2}
    run = train(settings, tmp_path / "run")
    shutil.rmtree(weights)
    train({"max_steps": 3, "weights": str(weights)}, run)
    assert "is not read: this run goes on from its own checkpoint" in capsys.readouterr().out
    assert read_rows(run / "metrics.jsonl")[-1]["step"] == 3
    assert "text" in json.loads((run / "summary.json").read_text())["parameters"]


def test_data_that_moved_are_named_anew(unbroken: Path, synthetic_data: Path, tmp_path: Path) -> None:
    moved, run = tmp_path / "moved", tmp_path / "run"
    shutil.copytree(synthetic_data, moved)
    shutil.copytree(unbroken, run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "data_dir": str(tmp_path / "gone")}))
    with pytest.raises(UserError, match=r"gone: no such directory; where the run's data have moved.*--data_dir"):
        train({"epochs": 4}, run)
    train({"epochs": 4, "data_dir": str(moved)}, run)
    assert read_rows(run / "metrics.jsonl")[-1]["epoch"] == 4
    assert load_config(run / "config.json").data_dir == str(moved)


def test_other_data_under_the_same_name_are_refused(unbroken: Path, synthetic_data: Path, tmp_path: Path) -> None:
    changed, run = tmp_path / "changed", tmp_path / "run"
    shutil.copytree(synthetic_data, changed)
    shutil.copytree(unbroken, run)
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


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        write_class_folders(tmp_path / "scenes", split, beach=4, park=4, port=4)
    return tmp_path / "scenes"


def begun(scenes: Path, tmp_path: Path, **settings: str) -> Path:
    options = {"preset": "tiny", "data_dir": str(scenes), "batch_size": 4, "max_steps": 1, **settings}
    return train(options, tmp_path / "run")


def test_a_class_that_was_renamed_or_added_is_refused(scenes: Path, tmp_path: Path) -> None:
    run = begun(scenes, tmp_path)
    for split in ("train", "val"):
        (scenes / split / "beach").rename(scenes / split / "seaside")
    with pytest.raises(UserError, match="begun with other classes: beach is gone and seaside is new"):
        train({"max_steps": 2}, run)
    for split in ("train", "val"):
        (scenes / split / "seaside").rename(scenes / split / "beach")
        write_class_folders(scenes, split, airport=2)
    with pytest.raises(UserError, match="begun with other classes: airport is new"):
        train({"max_steps": 2}, run)


def test_classes_in_another_order_are_refused_and_a_lost_list_is_not_needed(scenes: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("beach\npark\nport\n")
    run = begun(scenes, tmp_path, classes=str(names))
    names.write_text("port\nbeach\npark\n")
    with pytest.raises(UserError, match="another order, which was beach, park, port"):
        train({"max_steps": 2}, run)
    names.unlink()
    with pytest.raises(UserError, match=r"--classes=.*names.txt: no such file"):
        train({"max_steps": 2, "classes": str(names)}, run)
    train({"max_steps": 2}, run)
    assert read_rows(run / "metrics.jsonl")[-1]["step"] == 2
    with np.load(run / "text_embeddings.npz") as stored:
        assert stored["class_names"].tolist() == ["beach", "park", "port"]
