"""`python -m remoteclip_jax.benchmark` from end to end, with a small tower: the figures are there and consistent."""

import json
import math
from pathlib import Path

import pytest

from tests.command import all_fail, run

KEYS = {
    "device",
    "versions",
    "iterations_per_sec",
    "images_per_sec",
    "compile_sec",
    "compile_sec_cached",
    "flops_per_step",
    "peak_fraction",
    "input_images_per_sec",
    "input_overhead",
    "torch_ratio",
    "torch_ratio_min",
    "torch_ratio_max",
    "input_ratio",
}
MODULE = ("-m", "remoteclip_jax.benchmark", "--preset=tiny", "--steps=1")


@pytest.mark.slow
def test_align_beside_pytorch_with_a_profile(tmp_path: Path, synthetic_data: Path) -> None:
    pytest.importorskip("torchvision", exc_type=ImportError)
    files = f"--data_dir={synthetic_data}", f"--json={tmp_path}/figures.json", f"--profile_dir={tmp_path}/trace"
    result = run(*MODULE, "--compare_torch", *files)
    assert result.returncode == 0, result.stderr[-2000:]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures.keys() >= KEYS
    numbers = [value for key, value in figures.items() if key in KEYS and not isinstance(value, (str, dict))]
    assert all(math.isfinite(value) and value > 0 for value in numbers)
    assert figures["images_per_sec"] == pytest.approx(8 * figures["iterations_per_sec"])
    assert figures["torch_ratio_min"] <= figures["torch_ratio"] <= figures["torch_ratio_max"]
    assert figures["torch_pairs"] >= 10
    assert figures["loss"] == pytest.approx(figures["torch_loss"], rel=1e-3)
    assert set(figures["inference"]) == {"1", "32"}
    assert figures["inference"]["32"].keys() >= {"images_per_sec", "torch_ratio"}
    for shares in figures["profile"].values():
        assert sum(shares.values()) == pytest.approx(1)
    assert figures["operations"]
    assert figures["torch_compile"] == "no"
    assert figures["profile"]["kinds"]["matmul/conv"] > 0
    assert "PyTorch's speed" in result.stdout
    assert "share  kind" in result.stdout
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))


@pytest.mark.slow
def test_detect(tmp_path: Path, synthetic_data: Path) -> None:
    files = f"--data_dir={synthetic_data}", f"--json={tmp_path}/figures.json", f"--profile_dir={tmp_path}/trace"
    result = run(*MODULE, "--task=detect", *files)
    assert result.returncode == 0, result.stderr[-2000:]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures.keys() >= KEYS
    assert figures["torch_ratio"] is None
    for stage in ("backbone", "pyramid", "decoder", "heads", "matching"):
        assert figures["profile"]["stages"][stage] > 0


@pytest.mark.slow
def test_a_part_of_the_sheet(tmp_path: Path, synthetic_data: Path) -> None:
    flags = "--preset=tiny", f"--data_dir={synthetic_data}", f"--output={tmp_path / 'sheet'}"
    result = run("-m", "remoteclip_jax.benchmark", "--part=align-step", *flags)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "align-step: measured in" in result.stdout
    part = json.loads((tmp_path / "sheet/align-step.json").read_text())
    assert part["failed"] is None
    figures = part["figures"]["align"]
    for key in ("variables_sec", "lower_sec", "compile_sec", "compile_sec_cached", "real_iterations_per_sec"):
        assert figures[key] > 0
        assert "| align-step | training |" in (tmp_path / "sheet/sheet.md").read_text()


def test_wrong_flags() -> None:
    cases: tuple[tuple[str, ...], ...] = (
        ("--compare_torch works with --task=align only", "--task=detect", "--compare_torch"),
        ("--steps=0 must be at least 1", "--steps=0"),
        ("this folder is missing", "--json=/nowhere/at/all.json"),
        ("--preset=huge is unknown", "--preset=huge"),
        ("larger than the 64 images", "--batch_size=100"),
        ("--minutes=0 must be more than 0", "--sheet", "--minutes=0"),
        ("--minutes is for --sheet and --part", "--minutes=3"),
        ("--batch_size is for the report on one task", "--sheet", "--batch_size=4"),
        ("--preset=huge is unknown; known: dior, rn50, scratch, small, tiny", "--sheet", "--preset=huge"),
        ("--part=train needs images with boxes to train on: --data_dir=DIR", "--part=train"),
    )
    errors = all_fail("remoteclip_jax.commands.benchmark", *(arguments for _, *arguments in cases))
    for error, (message, *_) in zip(errors, cases, strict=True):
        assert message in error
