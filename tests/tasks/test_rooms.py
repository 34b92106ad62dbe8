"""A task is a folder: what the rest of the program knows of it is one line in the registry."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from remoteclip_jax.errors import UserError
from remoteclip_jax.tasks.registry import TASKS, find_task, task_settings
from remoteclip_jax.training.task import Task
from tests.command import ROOT, environment


@pytest.mark.parametrize("name", list(TASKS))
def test_every_task_has_its_parts(name: str) -> None:
    settings = task_settings(name)
    assert isinstance(find_task(name), Task)
    for accelerator, weights in itertools.product((False, True), repeat=2):
        assert settings.default_preset(accelerator, weights) in settings.presets
    for preset in settings.presets.values():
        assert type(preset) is settings.config


def test_an_unknown_task_is_one_line() -> None:
    for find in (task_settings, find_task):
        with pytest.raises(UserError, match="--task=other is unknown; known: align, detect, contrast"):
            find("other")


def test_a_copy_of_align_is_a_task(synthetic_data: Path, tmp_path: Path) -> None:
    """`tasks/align/` under another name, and a line in the registry: it trains, evaluates and reports."""
    shutil.copytree(ROOT / "remoteclip_jax", tmp_path / "remoteclip_jax")
    for script in ("train.py", "eval.py"):
        shutil.copy(ROOT / script, tmp_path)
    tasks = tmp_path / "remoteclip_jax" / "tasks"
    shutil.copytree(tasks / "align", tasks / "echo")
    registry = (tasks / "registry.py").read_text()
    line = '    "echo": "what align does, under another name",\n'
    (tasks / "registry.py").write_text(re.sub(r"(TASKS = \{\n)", rf"\g<1>{line}", registry))
    run = tmp_path / "run"
    command("train.py", "--task=echo", "--preset=tiny", "--max_steps=1", f"--data_dir={synthetic_data}", at=tmp_path)
    (tmp_path / "runs").rename(tmp_path / "old")
    (run_directory,) = (tmp_path / "old").iterdir()
    assert run_directory.name.startswith("echo-")
    run_directory.rename(run)
    assert json.loads((run / "config.json").read_text())["task"] == "echo"
    assert "top-1" in command("eval.py", f"--workdir={run}", at=tmp_path)
    assert json.loads((run / "eval" / "test" / "metrics.json").read_text())["images"] > 0
    assert "## Evaluations" in (run / "report.md").read_text()


def command(*arguments: str, at: Path) -> str:
    """What a command of the copy prints, on either stream."""
    # Before the paths that an editable installation adds.
    path = {"PYTHONPATH": os.pathsep.join([str(at), *filter(None, [os.environ.get("PYTHONPATH")])])}
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=at,
        env={**environment(2), **path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout + result.stderr
