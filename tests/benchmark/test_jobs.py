"""Measurements in processes of their own: what they leave behind when they fail or take too long."""

from pathlib import Path

import pytest

from remoteclip_jax.benchmark import jobs
from remoteclip_jax.benchmark.jobs import Job, Outcome, merged, run_job


def test_a_job_that_fails_says_why_in_a_line(tmp_path: Path) -> None:
    found = run_job(Job("step", {"preset": "huge"}, {"steps": 1}), tmp_path, log=tmp_path / "log")
    assert found.figures == {}
    assert found.failed is not None
    assert found.failed.startswith("--preset=huge is unknown for --task=align")
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_job_that_takes_too_long_is_stopped_and_leaves_no_files(tmp_path: Path) -> None:
    found = run_job(Job("step", {}, {"steps": 1}), tmp_path, seconds=0.2)
    assert found == Outcome({}, "did not end within 0 s, and was stopped")
    assert list(tmp_path.iterdir()) == []


def test_what_was_measured_before_a_job_was_stopped_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
import json, sys, time
from pathlib import Path
from remoteclip_jax.benchmark.jobs import write_result
write_result(Path(json.loads(sys.argv[-1])["result"]), {"loss": 1.5}, None)
time.sleep(600)
"""
    start = jobs.subprocess.Popen
    monkeypatch.setattr(jobs.subprocess, "Popen", lambda a, **more: start([a[0], "-c", program, a[-1]], **more))
    assert run_job(Job("torch", {}), tmp_path, seconds=5).figures == {"loss": 1.5}


def test_a_profile_is_taken_without_cuda_graphs_and_with_the_users_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1")
    assert jobs._environment("profile", Path("x"))["XLA_FLAGS"] == "--xla_a=1 --xla_gpu_enable_command_buffer="
    assert jobs._environment("step", Path("x"))["XLA_FLAGS"] == "--xla_a=1"


def test_figures_are_merged() -> None:
    assert merged({"a": 1, "b": {"1": {"x": 1}}}, {"b": {"1": {"y": 2}, "32": {}}, "a": 3}) == {
        "a": 3,
        "b": {"1": {"x": 1, "y": 2}, "32": {}},
    }
