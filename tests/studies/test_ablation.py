"""The ablation's table from what its runs leave behind."""

import json
from pathlib import Path

import pytest

from remoteclip_jax.tasks.detect.config import PRESETS
from studies.ablation import VARIANTS, read_results, table


def result(directory: Path, variant: str, seed: int, ap: float) -> None:
    content = {"variant": variant, "seed": seed, "map_50": ap, "map": ap / 2}
    (directory / f"{variant}-{seed}.result.json").write_text(json.dumps(content))


def test_the_table_compares_runs_of_the_same_seed(tmp_path: Path) -> None:
    for seed, ap in enumerate((0.30, 0.32, 0.34)):
        result(tmp_path, "full", seed, ap)
    result(tmp_path, "no denoising", 0, 0.28)
    result(tmp_path, "no denoising", 2, 0.34)
    lines = table(read_results(tmp_path)).splitlines()
    assert lines[2] == "| full | 3 | 32.0 ± 2.0 % | 16.0 ± 1.0 % |  |"
    assert lines[3] == "| no denoising | 2 | 31.0 ± 4.2 % | 15.5 ± 2.1 % | -1.0 ± 1.0 |"


def test_no_results_make_an_empty_table(tmp_path: Path) -> None:
    assert len(table(read_results(tmp_path)).splitlines()) == 2


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_changes_something_that_exists(name: str) -> None:
    preset = PRESETS["small"].detector
    assert (preset.replace(**VARIANTS[name]) == preset) is (name == "default")
