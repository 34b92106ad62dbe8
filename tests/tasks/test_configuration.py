"""A run's configuration: from presets and settings, from the file of a run, and of a run that is continued."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.errors import UserError
from remoteclip_jax.tasks.align.config import AlignConfig
from remoteclip_jax.tasks.configuration import load_config, new_config, resumed_config
from remoteclip_jax.tasks.detect.config import DetectConfig
from remoteclip_jax.tasks.registry import TASKS, task_settings


@pytest.mark.parametrize("task", TASKS)
def test_presets(task: str) -> None:
    settings = task_settings(task)
    for name, preset in settings.presets.items():
        config = new_config({"task": task, "preset": name})
        assert config == dataclasses.replace(preset, task=task, preset=name)
    for accelerator, weights in itertools.product((False, True), (None, "weights/rn50")):
        expected = settings.default_preset(accelerator, bool(weights))
        assert new_config({"task": task, **({"weights": weights} if weights else {})}, accelerator).preset == expected
    with pytest.raises(UserError, match=f"--preset=huge is unknown for --task={task}; known: .*tiny"):
        new_config({"task": task, "preset": "huge"})


def test_a_gpu_without_weights_gets_the_recipe_for_random_ones() -> None:
    cases = {(False, False): "small", (False, True): "small", (True, False): "scratch", (True, True): "dior"}
    for (accelerator, weights), preset in cases.items():
        assert task_settings("detect").default_preset(accelerator, weights) == preset


def test_settings_go_before_the_preset() -> None:
    config = new_config({"task": "detect", "preset": "tiny", "epochs": 7, "set": {"mosaic": 0.5, "detector.layers": 3}})
    assert isinstance(config, DetectConfig)
    tiny = task_settings("detect").presets["tiny"]
    assert isinstance(tiny, DetectConfig)
    assert (config.epochs, config.mosaic, config.detector) == (7, 0.5, tiny.detector.replace(layers=3))
    assert dataclasses.replace(config, epochs=tiny.epochs, mosaic=tiny.mosaic, detector=tiny.detector) == (
        dataclasses.replace(tiny, task="detect", preset="tiny")
    )


def test_a_detector_that_starts_from_weights_is_fine_tuned_unless_the_user_says_otherwise() -> None:
    settings: dict[str, Any] = {"task": "detect", "preset": "tiny", "weights": "runs/a"}
    config = new_config(settings)
    assert isinstance(config, DetectConfig)
    assert (config.backbone, config.align_share, config.detector.train_norm) == ("slow", 0.0, False)
    config = new_config({**settings, "set": {"backbone": "frozen", "align_share": 0.3, "detector.train_norm": True}})
    assert isinstance(config, DetectConfig)
    assert (config.backbone, config.align_share, config.detector.train_norm) == ("frozen", 0.3, True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "align", "novel": ("ship",)}, "--novel is for --task=detect; --task=align does not use it"),
        ({"task": "detect", "label": "first"}, "--label is for --task=align; --task=detect does not use it"),
        (
            {"set": {"detector.layers": 4}},
            r"--set=detector\.layers=…: detector is for --task=detect; --task=align does",
        ),
        ({"colour": "red"}, "--colour is not a setting; --task=align does not use it"),
        ({"epochs": 3, "set": {"epochs": 4}}, "--set=epochs=… and --epochs set the same field: leave one out"),
        ({"set": {"epochs": 0}}, "--epochs=0 is out of range"),
        ({"task": "detect", "set": {"detector.layers": 0}}, r"--set=detector\.layers=0: layers=0 must lie between"),
        ({"task": "detect", "set": {"detector.width": 66}}, r"--set=detector\.width=66: width 66 must be a multiple"),
        ({"task": "detect", "set": {"views": [100]}}, "100"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        new_config(settings)
    assert "\n" not in str(caught.value)


def test_a_configuration_is_saved_and_read_back(tmp_path: Path) -> None:
    settings = {"task": "detect", "preset": "small", "novel": ("ship",), "bands": (3, 2, 1), "val_share": 0.1}
    for config in (
        new_config({}),
        new_config(settings),
        dataclasses.replace(new_config(settings), total_steps=9, fits=((0, 9, 3), (4, 8, 2))),
    ):
        config.save(tmp_path / "config.json")
        assert load_config(tmp_path / "config.json") == config


# As version 0.1.0 wrote it: the settings of all tasks in one object.
VERSION_0_1_0: dict[str, Any] = {
    "arch": "tiny",
    "data_dir": None,
    "dataset_format": "auto",
    "classes": None,
    "weights": None,
    "text_embeddings": None,
    "novel": [],
    "label": "largest",
    "augment": "none",
    "epochs": 10,
    "max_steps": None,
    "max_minutes": None,
    "total_steps": 90,
    "align_share": 0.0,
    "align_steps": 0,
    "batch_size": 8,
    "learning_rate": 0.001,
    "weight_decay": 0.01,
    "schedule": "constant",
    "temperature": 0.05,
    "image_size": 64,
    "dtype": "float32",
    "seed": 3,
    "checkpoint_every": 5,
    "backbone": "train",
    "beta2": 0.999,
    "clip_norm": 0.0,
    "ema": 0.0,
    "detector": None,
    "views": [],
    "jitter": 1.0,
    "mosaic": 0.0,
    "max_objects": 100,
    "validations": None,
    "draw_train": 71,
    "draw_val": 16,
    "draw_test": 17,
    "draw_size": 192,
}
DETECT_0_1_0 = {
    "task": "detect",
    "preset": "tiny",
    "novel": ["ship", "dam"],
    "align_share": 0.2,
    "align_steps": 18,
    "detector": {"width": 48, "heads": 4, "layers": 2, "queries": 40, "class_loss": "varifocal", "denoising": 20},
    "views": [64, 128],
    "jitter": 1.2,
    "mosaic": 0.5,
    "max_objects": 16,
    "validations": 1,
}


def write(folder: Path, content: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(content))
    return folder / "config.json"


def test_a_configuration_of_version_0_1_0_is_read(tmp_path: Path) -> None:
    common = {"total_steps": 90, "seed": 3, "learning_rate": 1e-3, "image_size": 64, "arch": "tiny"}
    common |= {"synthetic_train": 71, "synthetic_val": 16, "synthetic_test": 17, "synthetic_size": 192}
    align = load_config(write(tmp_path, {"task": "align", "preset": "tiny", **VERSION_0_1_0}))
    expected = {"task": "align", "preset": "tiny", "label": "largest", "temperature": 0.05}
    assert align == AlignConfig(**{**common, **expected})
    detect = load_config(write(tmp_path, {**VERSION_0_1_0, **DETECT_0_1_0}))
    detector = DetectorConfig(width=48, heads=4, layers=2, queries=40, class_loss="varifocal", denoising=20)
    expected = {name: value for name, value in DETECT_0_1_0.items() if name not in ("align_steps", "detector")}
    expected |= {"first_steps": 18, "detector": detector, "views": (64, 128), "novel": ("ship", "dam")}
    assert detect == DetectConfig(**{**common, **expected, "decay_vectors": True})


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"task": "other"}',
        '{"task": "align", "colour": "red"}',
        '{"task": "align", "epochs": "many"}',
        '{"task": "align", "epochs": 0}',
        '{"task": "detect", "detector": null}',
        '{"task": "detect", "detector": {"layers": 0}}',
        '{"task": "detect", "detector": {"colour": 1}}',
    ],
)
def test_a_damaged_configuration_is_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json is damaged or from another version") as caught:
        load_config(tmp_path / "config.json")
    assert "\n" not in str(caught.value)


def test_a_directory_without_a_configuration_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run directory: it has no config\.json"):
        load_config(tmp_path / "config.json")


SAVED = dataclasses.replace(
    new_config({"task": "detect", "preset": "tiny", "data_dir": "/data", "max_steps": 6}), total_steps=6, first_steps=1
)


def resumed(**settings: Any) -> Any:
    return resumed_config(SAVED, settings, Path("runs/a"))


def test_a_continued_run_keeps_its_settings() -> None:
    assert resumed() == SAVED
    assert resumed(task="detect", preset="tiny", max_steps=6, set={"detector.layers": 1}) == SAVED


def test_a_continued_run_can_be_longer_and_its_data_can_have_moved() -> None:
    longer = resumed(max_steps=9, data_dir="/elsewhere")
    assert longer == dataclasses.replace(SAVED, max_steps=9, total_steps=None, data_dir="/elsewhere")
    assert resumed(epochs=8) == dataclasses.replace(SAVED, epochs=8, max_steps=None, total_steps=None)
    fitted = dataclasses.replace(SAVED, max_minutes=3.0, max_steps=None, fits=((0, 6, 1),))
    again = resumed_config(fitted, {"epochs": 8}, Path("runs/a"))
    assert again == dataclasses.replace(fitted, epochs=8, max_minutes=None, total_steps=None, fits=())
    with pytest.raises(UserError, match=r"was fitted to --max_minutes=3\.0; to go on give --epochs"):
        resumed_config(fitted, {"max_minutes": 5.0}, Path("runs/a"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "align"}, r"--task=align \(was detect\)"),
        ({"learning_rate": 0.5, "seed": 9}, r"--learning_rate=0.5 \(was 0.002\), --seed=9 \(was 0\)"),
        ({"set": {"detector.layers": 3}}, r"--detector\.layers=3 \(was 1\)"),
        ({"task": "align", "label": "first"}, r"--label=first \(was None\)"),
        ({"weights": "/other"}, r"--weights=/other \(was None\)"),  # it began without: these could not be used
        ({"set": {"detector.layer": 3}}, r"the nearest is detector\.layers"),
    ],
)
def test_a_continued_run_refuses_other_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resumed(**settings)
