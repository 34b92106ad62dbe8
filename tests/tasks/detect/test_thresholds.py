"""A run's score thresholds: when they are fitted, to what, and what is said of them."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detector.detections import Detections, true_objects
from remoteclip_jax.detector.inference import TrainedDetector
from remoteclip_jax.detector.thresholds import Thresholds
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.data import RunData
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.evaluation_data import EvalSettings, evaluates_validation
from remoteclip_jax.runs.thresholds import read_thresholds, write_thresholds
from remoteclip_jax.tasks.detect import evaluation, workload
from remoteclip_jax.tasks.detect.config import PRESETS, DetectConfig
from remoteclip_jax.tasks.detect.thresholds import (
    facts_line,
    fit_thresholds,
    threshold_facts,
    threshold_line,
    without_novel,
)
from tests.detector.small_model import TINY
from tests.evaluation.test_detection import LETTERS, random_split

CONFIG = dataclasses.replace(PRESETS["tiny"], task="detect", batch_size=2)
FITTED = Thresholds(0.41, 0.8, {"ship": 0.375, "storagetank": 0.52, "dam": 0.41}, "val")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A run that was trained with the validation split "val". Its images do not exist, so evaluations draw none."""
    monkeypatch.setattr(evaluation, "best_and_worst", lambda *_: {})
    run = RunDirectory(tmp_path / "run")
    run.root.mkdir()
    CONFIG.save(run.config)
    run.summary.write_text(json.dumps({"images": {"train": 20, "val": 8}}))
    return run


def found_at(score: float) -> Callable[[Any, Dataset], list[Detections]]:
    """A predictor that finds every object with this score, and weaker things that are not there."""

    def predict(variables: Any, dataset: Dataset) -> list[Detections]:
        result = []
        for example in dataset.examples:
            true = true_objects(example, dataset.classes)
            boxes = np.concatenate([true.boxes, np.tile(np.float32([[0, 0, 1, 1]]), (3, 1))])
            scores = np.full(len(boxes), score, np.float32)
            scores[len(true) :] /= 2
            labels = np.concatenate([true.labels, np.zeros(3, np.int32)])
            result.append(Detections(boxes, scores, labels, dataset.classes))
        return result

    return predict


def split(name: str, images: int) -> Dataset:
    return dataclasses.replace(random_split(images, images, LETTERS), split=name)


@pytest.mark.parametrize("final", ["test", "val", "none"])
def test_fitted_at_the_end_of_training(final: str, run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the validation split, which is predicted for this if it is not the one that is evaluated. The time of the end
    is counted in validations."""
    predicted = []

    def make_predictor(*_: Any, **__: Any) -> Any:
        def predict(variables: Any, dataset: Dataset) -> list[Detections]:
            predicted.append(dataset.split)
            return found_at({"val": 0.5, "test": 0.75}[dataset.split])(variables, dataset)

        return predict

    monkeypatch.setattr(workload, "make_predictor", make_predictor)
    train, val, test = split("train", 20), split("val", 8), split("test", 12)
    data = RunData(LETTERS, train, None if final == "none" else val, test if final != "val" else val, ())
    made = workload.make_workload(CONFIG, run, None, np.eye(4, 64, dtype=np.float32), data)
    assert made.finish_share == {"test": (12 + 8) / 8, "val": 1, "none": 1}[final]
    assert made.finish is not None
    made.finish({})
    thresholds = read_thresholds(run)
    result = json.loads((run.evaluation("val" if final == "val" else "test") / "metrics.json").read_text())
    if final == "none":
        assert (thresholds, result["threshold"], result["f1"], predicted) == (None, None, None, ["test"])
        return
    assert predicted == {"test": ["test", "val"], "val": ["val"]}[final]
    assert thresholds is not None
    assert (thresholds.overall, thresholds.f1, thresholds.split) == (0.5, 1, "val")
    assert set(thresholds.per_class.values()) == {0.5}
    assert (result["threshold"], result["f1"]) == (0.5, 1)


@pytest.mark.parametrize("split_name", ["val", "test"])
def test_fitted_by_an_evaluation_of_the_validation_split(
    split_name: str, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And measured by that of another."""
    write_thresholds(run, FITTED)
    texts = np.eye(4, 64, dtype=np.float32)
    detector = TrainedDetector(TINY, CONFIG.detector, {}, (128,), LETTERS, texts, None, thresholds=read_thresholds(run))
    dataset = split(split_name, 8)
    monkeypatch.setattr(evaluation, "load_detector", lambda path: detector)
    monkeypatch.setattr(evaluation, "read_evaluation_split", lambda *_: (dataset, None))
    monkeypatch.setattr(evaluation, "evaluation_embeddings", lambda *_: texts)
    monkeypatch.setattr(evaluation, "make_predictor", lambda *_, **__: found_at(0.625))
    result = evaluation.evaluate(run, CONFIG, EvalSettings(split_name, batch_size=1))
    expected = 0.625 if split_name == "val" else 0.41
    assert (result["threshold"], result["f1"]) == (expected, 1)
    thresholds = read_thresholds(run)
    assert thresholds is not None
    assert thresholds.overall == expected
    assert f"above the run's score threshold of {expected:.2g}: F1 100.0 %" in evaluation.describe(result).splitlines()


def test_which_evaluations_are_of_the_own_validation(run: RunDirectory) -> None:
    def own(config: DetectConfig = CONFIG, **settings: Any) -> bool:
        return evaluates_validation(run, config, EvalSettings(**{"split": "val", **settings}))

    assert own()
    assert own(split="valid", batch_size=7, skip_broken=True, novel=("ship",))
    for other in ({"split": "test"}, {"data_dir": Path()}, {"classes": Path()}, {"image_size": 96}, {"bands": (1,)}):
        assert not own(**other)
    assert not own(max_detections=10)
    named = dataclasses.replace(CONFIG, val_split="minival")
    assert own(named, split="minival")
    assert not own(named)
    run.summary.write_text(json.dumps({"images": {"train": 20}}))
    assert not own()
    run.summary.unlink()
    assert own()


def test_nothing_right_leaves_no_thresholds(run: RunDirectory) -> None:
    val = split("val", 8)
    write_thresholds(run, FITTED)
    nothing = [Detections(d.boxes[:0], d.scores[:0], d.labels[:0], LETTERS) for d in found_at(0.5)({}, val)]
    assert fit_thresholds(run, val, nothing) is None
    assert not run.thresholds.exists()
    facts = threshold_facts(None, val, nothing)
    assert facts == {"threshold": None, "f1": None}
    assert facts_line(facts) == "no score threshold is fitted to the run's validation split: detect takes 0.3"


def test_kept_in_the_run(run: RunDirectory) -> None:
    assert read_thresholds(run) is None
    write_thresholds(run, FITTED)
    assert read_thresholds(run) == FITTED
    content = json.loads(run.thresholds.read_text())
    for changes in ({"overall": "high"}, {"overall": 1.5}, {"per_class": {"ship": -1}}, {"per_class": [1]}):
        run.thresholds.write_text(json.dumps({**content, **changes}))
        with pytest.raises(UserError, match=r"thresholds\.json is damaged: "):
            read_thresholds(run)


def test_what_is_said(run: RunDirectory) -> None:
    other = "--score_threshold=… for another"
    assert threshold_line(FITTED, ["Storage tank", "ship", "dam", "red roof"], run) == (
        f"score threshold 0.41 (best F1 on val, 80.0 %; by class: Storage tank 0.52, ship 0.38; {other})"
    )
    assert threshold_line(FITTED, ["red roof"], run) == f"score threshold 0.41 (best F1 on val, 80.0 %; {other})"
    many = Thresholds(0.5, 0.8, {str(i): 0.1 for i in range(30)}, "val")
    assert "7 0.1, and 22 more in thresholds.json; --" in threshold_line(many, [str(i) for i in range(30)], run)
    hint = f"eval.py --workdir={run.root} --split=val fits one to the validation split"
    unfitted = "0.3 for kiln, not trained on, so that none could be fitted"
    line = threshold_line(FITTED, ["red roof"], run)
    assert threshold_line(FITTED, ["red roof", "kiln"], run, ["kiln"]) == f"{line}; {unfitted}"
    assert threshold_line(FITTED, ["kiln"], run, ["kiln"]) == f"score threshold {unfitted} ({other})"
    assert threshold_line(None, ["ship"], run) == f"score threshold 0.3, for none was fitted ({hint}; {other})"
    dataclasses.replace(CONFIG, val_split="minival").save(run.config)
    assert "--split=minival fits one" in threshold_line(None, ["ship"], run)
    run.summary.write_text(json.dumps({"images": {"train": 20}}))
    assert "(this run has no validation split to fit one to; --score" in threshold_line(None, ["ship"], run)


def test_thresholds_are_fitted_to_what_was_trained_on() -> None:
    dataset = split("val", 8)
    found = found_at(0.5)({}, dataset)
    label = 1
    rest, detections = without_novel(dataset, found, [LETTERS[label]])
    assert 0 < len(rest) < len(dataset)
    assert len(rest) == len(detections)
    assert all(label not in one.labels for one in detections)
    assert all(label not in example.labels for example in rest.examples)
    everything, same = without_novel(dataset, found, ())
    assert len(everything) == len(dataset)
    assert [len(one) for one in same] == [len(one) for one in found]
