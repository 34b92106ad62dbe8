"""The sheet goes on where it stopped, tells what is missing, and is a table of what its JSON files hold."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from remoteclip_jax.benchmark import sheet
from remoteclip_jax.benchmark.jobs import Job, Outcome
from remoteclip_jax.benchmark.parts import LONGEST_MINUTES, PART_NAMES, Part, sheet_parts
from remoteclip_jax.benchmark.sheet import fill_sheet, measure_alone
from remoteclip_jax.errors import UserError

ABOUT = {"device": "1 × H100", "versions": {"jax": "0.11"}}
PARTS = [
    Part("detect-step", 8, (Job("step", {"task": "detect"}), Job("restart", {"task": "detect"}))),
    Part("memory", 5, (Job("memory", {"task": "detect"}),)),
]


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Outcome]:
    """What the jobs of each kind come to; every job that runs is noted under "ran"."""
    outcomes = {
        "step": Outcome(ABOUT | {"variables_sec": 1.0, "compile_sec": 90.0, "lower_sec": 12.0}, None),
        "restart": Outcome({"variables_sec_cached": 1.0, "compile_sec_cached": 20.0, "lower_sec_cached": 12.0}, None),
        "memory": Outcome(ABOUT | {"memory": {"4": {"bytes": 2**31, "compile_sec": 60.0}}}, None),
    }
    monkeypatch.setattr(sheet, "run_job", lambda job, *_: outcomes[job.kind])
    return outcomes


@pytest.fixture
def fill(tmp_path: Path) -> Callable[..., list[str]]:
    def fill(minutes: float = 10, preset: str | None = None) -> list[str]:
        said: list[str] = []
        fill_sheet(PARTS, tmp_path, minutes, preset, said.append)
        return said

    return fill


def test_parts_are_written_and_not_measured_again(
    jobs: dict[str, Outcome], fill: Callable[..., list[str]], tmp_path: Path
) -> None:
    assert [line.partition(" in ")[0] for line in fill()] == ["detect-step: measured", "memory: measured"]
    assert json.loads((tmp_path / "detect-step.json").read_text())["figures"]["detect"]["compile_sec_cached"] == 20
    table = (tmp_path / "sheet.md").read_text()
    assert "| detect-step | from nothing | compiling 90.0 s, of which tracing and lowering 12.0 s; variables" in table
    assert "| detect-step | from the cache | compiling 20.0 s" in table
    assert "| memory | memory, 4 | 2.00 GiB" in table
    assert "- detect-step, memory: 1 × H100; jax 0.11; " in table
    assert fill() == ["detect-step: measured before", "memory: measured before"]


def test_a_part_that_fails_keeps_what_it_has_and_is_tried_again(
    jobs: dict[str, Outcome], fill: Callable[..., list[str]], tmp_path: Path
) -> None:
    good = jobs["restart"]
    jobs["restart"] = Outcome({}, "did not end within 7 s, and was stopped")
    first, second = fill()
    assert first.startswith("detect-step: did not end within 7 s, and was stopped (")
    assert second.startswith("memory: measured")
    table = (tmp_path / "sheet.md").read_text()
    assert "| detect-step | from nothing | compiling 90.0 s" in table
    assert "| detect-step | missing | did not end within 7 s" in table
    jobs["restart"] = good
    (tmp_path / "memory.json").unlink()  # what was never measured comes first
    assert [line.partition(" in ")[0] for line in fill()] == ["memory: measured", "detect-step: measured"]
    assert "missing" not in (tmp_path / "sheet.md").read_text()


def test_without_time_no_part_is_begun(
    jobs: dict[str, Outcome], fill: Callable[..., list[str]], tmp_path: Path
) -> None:
    assert all("not begun" in line for line in fill(minutes=0.1))
    assert list(tmp_path.iterdir()) == []


def test_a_part_alone_is_measured_again(
    jobs: dict[str, Outcome], fill: Callable[..., list[str]], tmp_path: Path
) -> None:
    fill()
    jobs["memory"] = Outcome(ABOUT | {"skipped": "too small"}, None)
    said: list[str] = []
    measure_alone(PARTS[1], tmp_path, None, said.append)
    assert said == ["memory: left out: too small"]
    assert "| memory | left out | too small |" in (tmp_path / "sheet.md").read_text()


def test_a_folder_has_one_preset_and_whole_files(
    jobs: dict[str, Outcome], fill: Callable[..., list[str]], tmp_path: Path
) -> None:
    fill()
    with pytest.raises(UserError, match=r"has figures of another preset \(detect-step: the default\)"):
        fill(preset="tiny")
    (tmp_path / "memory.json").write_text("{}")
    with pytest.raises(UserError, match=r"memory\.json is damaged"):
        fill()


def test_the_parts_of_the_sheet() -> None:
    parts = sheet_parts("dior", "/data", "max-autotune")
    assert tuple(part.name for part in parts) == PART_NAMES
    assert tuple(part.name for part in sheet_parts(None, None, None)) == PART_NAMES[:-1]
    assert all(part.minutes <= LONGEST_MINUTES for part in parts)
    settings = {job.settings["task"]: job.settings for part in parts if part.name == "inference" for job in part.jobs}
    assert settings == {
        "align": {"task": "align", "data_dir": "/data"},  # it has no preset of this name
        "detect": {"task": "detect", "data_dir": "/data", "preset": "dior"},
    }
