"""A report of a run whose files somebody has changed: it is written, or one line names the file."""

import dataclasses
import json
from pathlib import Path

import pytest

from remoteclip_jax.errors import UserError
from remoteclip_jax.files.json_files import read_json, schema_mismatch, schema_of
from remoteclip_jax.runs.metrics_log import read_rows
from remoteclip_jax.tasks.align import report as align
from remoteclip_jax.tasks.configuration import new_config
from remoteclip_jax.tasks.detect import report as detect
from remoteclip_jax.tasks.detect.config import DetectConfig
from remoteclip_jax.tasks.reporting import write_report
from tests.evaluation.test_page import run_of
from tests.mutations import altered, damaged, refusal


@pytest.mark.parametrize("task", ["align", "detect"])
@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "summary.json", "eval/![x](..)/metrics.json"])
def test_mutated_files(task: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (align, detect):
        monkeypatch.setattr(module, "png", lambda figure: b"")  # drawing is most of the time, and no matter of files
    run = run_of(task, tmp_path, "run")
    path = run.root / name
    content = path.read_bytes()
    values = [json.dumps(value).encode() for value in altered(json.loads(content), 25)]
    for changed in (*damaged(content, 20), *values):
        path.write_bytes(changed)
        message = refusal(lambda: write_report(run))
        assert message is None or path.name in message
    path.write_bytes(content)
    write_report(run)


def test_the_place_of_the_trouble_is_named(tmp_path: Path) -> None:
    form = {"a": {str: [int]}, "b": (float, None)}
    good = {"a": {"x": [1, 2]}, "b": 0.5, "more": "x"}
    assert schema_mismatch(good, form) is None
    assert schema_mismatch({**good, "b": None}, form) is None
    assert schema_mismatch({**good, "b": 3}, form) is None
    for value, problem in (
        ({**good, "a": {"x": [1, "2"]}}, "a.x[1] is '2'"),
        ({**good, "a": {"x": 1}}, "a.x is '1', not a list"),
        ({**good, "a": []}, "a is '[]', not an object"),
        ({"a": {}}, "b is missing"),
        ([], "it is '[]', not an object"),
        ({**good, "b": True}, "b is 'True'"),
        ({**good, "a": {"x": [10**30]}}, f"a.x[0] is '{10**30}'"),
        ({**good, "a": {"x": [None]}}, "a.x[0] is null"),
    ):
        assert schema_mismatch(value, form) == problem
    with pytest.raises(UserError, match=r"gone\.json: No such file"):
        read_json(tmp_path / "gone.json", form)
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"deep\.json is damaged"):
        read_json(tmp_path / "deep.json", form)


def test_forms_of_types() -> None:
    form = schema_of(DetectConfig)
    config = json.loads(json.dumps(dataclasses.asdict(new_config({"task": "detect"}))))
    assert schema_mismatch(config, form) is None
    assert schema_mismatch({"epochs": 3}, form) is None  # the others have their defaults
    for name, value, problem in (
        ("views", ["64"], "views[0] is '64'"),
        ("novel", "abc", "novel is 'abc', not a list"),
        ("data_dir", 5, "data_dir is '5'"),
        ("detector", {"width": "x"}, "detector.width is 'x'"),
        ("task", 3, "task is '3'"),
        ("ema", "1", "ema is '1'"),
    ):
        assert schema_mismatch({**config, name: value}, form) == problem


def test_rows(tmp_path: Path) -> None:
    """The last line may be cut off by a kill; any other is whole, or it is named."""
    row = {"step": 3, "epoch": 1, "loss": 1.0, "learning_rate": 0.1, "iterations_per_sec": 2.0, "seconds": 5.0}
    line, path = json.dumps(row), tmp_path / "metrics.jsonl"
    assert read_rows(path) == []
    path.write_bytes(f"{line}\n{line}\n{line[:30]}\xff".encode("latin-1"))
    assert read_rows(path) == [row, row]
    wrong = [json.dumps({**row, name: value}) for name, value in (("loss", "low"), ("val_map", None), ("step", 1.5))]
    for broken in (line[:30], "[]", "3", "{}", *wrong):
        path.write_text(f"{line}\n{broken}\n{line}\n")
        with pytest.raises(UserError, match=r"metrics\.jsonl, line 2: "):
            read_rows(path)
