"""The synthetic data of `contrast`: whole scenes, and the windows of a grid that is the same for all of them."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.tasks.contrast.config import ContrastConfig
from remoteclip_jax.tasks.contrast.data import read
from remoteclip_jax.tasks.contrast.synthetic import cut, draw_captioned_scenes, grid

SIZE = 128
CONFIG = ContrastConfig(
    synthetic_train=4, synthetic_val=2, synthetic_test=1, synthetic_size=SIZE, synthetic_grid=2, batch_size=2
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    run = RunDirectory(tmp_path_factory.mktemp("runs") / "run")
    run.root.mkdir(exist_ok=True)
    draw_captioned_scenes(CONFIG, run.data)
    return run


def test_only_training_has_windows(run: RunDirectory) -> None:
    images = json.loads((run.data / "captions.json").read_text())["images"]
    names = {split: [i["filename"] for i in images if i["split"] == split] for split in ("train", "val", "test")}
    windows = {name for name in names["train"] if name.startswith("windows/")}
    assert 4 < len(windows) <= 16
    assert {name.removeprefix("windows/") for name in windows} == {p.name for p in (run.data / "windows").iterdir()}
    assert {split: len(names[split]) for split in ("val", "test")} == {"val": 2, "test": 1}
    assert len(set(names["train"]) - windows) == 4
    assert all(len(image["sentences"]) == 5 for image in images)


def test_contrast_sees_images_and_captions_only(run: RunDirectory) -> None:
    """The classes, boxes and labels that the scenes have do not reach it."""
    data = read(CONFIG, run)
    assert data.classes == ()
    assert data.val is not None
    for dataset in (data.train, data.val):
        assert (dataset.has_boxes, dataset.classes) == (False, ())
        for example in dataset.examples:
            assert len(example.boxes) == len(example.labels) == len(example.ignored) == 0
            assert example.annotations is None
            assert len(example.captions) == 5
    assert any("captions of" in note for note in data.notes)


def test_the_grid_covers_a_scene_once() -> None:
    for side in (1, 2, 3):
        windows = grid(side)
        edges = [i / side for i in range(side)]
        assert [(w.x, w.y) for w in windows] == [(x, y) for y, x in itertools.product(edges, edges)]
        assert {(w.w, w.h) for w in windows} == {(1 / side, 1 / side)}


def test_windows_are_those_of_the_grid_wherever_the_objects_lie(run: RunDirectory, tmp_path: Path) -> None:
    """The objects decide which windows are kept, and not where these lie."""
    example = read_dataset(run.data, "train").examples[0]
    scene = np.asarray(Image.open(example.image)).astype(int)
    rng, seen = np.random.default_rng(0), set()
    for trial in range(12):
        boxes = np.concatenate([rng.uniform(0.1, 0.9, (2, 2)), rng.uniform(0.05, 0.2, (2, 2))], -1).astype(np.float32)
        moved = dataclasses.replace(example, boxes=boxes, labels=np.zeros(2, np.int32))
        folder = tmp_path / str(trial)
        folder.mkdir()
        for cell in cut(moved, 2, folder):
            number = int(cell.image.stem.rpartition("-")[2])
            y, x = (SIZE // 2 * i for i in divmod(number, 2))
            pixels = np.asarray(Image.open(cell.image))
            assert pixels.shape == (SIZE // 2, SIZE // 2, 3) == (cell.height, cell.width, 3)
            assert np.abs(scene[y : y + SIZE // 2, x : x + SIZE // 2] - pixels).mean() < 12  # JPEG
            assert len(cell.boxes) > 0
            seen.add(number)
    assert seen == {0, 1, 2, 3}


def test_windows_of_a_side_that_does_not_divide(run: RunDirectory, tmp_path: Path) -> None:
    """Together they have the pixels of the scene."""
    example = read_dataset(run.data, "train").examples[0]
    everywhere = dataclasses.replace(
        example,
        boxes=np.array([[w.x + w.w / 2, w.y + w.h / 2, 0.1, 0.1] for w in grid(3)], np.float32),
        labels=np.zeros(9, np.int32),
    )
    cells = cut(everywhere, 3, tmp_path)
    assert sum(cell.width * cell.height for cell in cells) == SIZE**2
    assert [cell.labels.tolist() for cell in cells] == [[0]] * 9


def test_images_that_are_there_are_kept(run: RunDirectory) -> None:
    """And the captions are written anew, the same: a start with another grid that came to nothing may have left its
    own."""
    captions = run.data / "captions.json"
    content = captions.read_bytes()
    files = list(run.data.rglob("*.jpg"))
    before = [path.stat().st_mtime_ns for path in files]
    captions.write_text("another grid's")
    draw_captioned_scenes(CONFIG, run.data)
    assert [path.stat().st_mtime_ns for path in files] == before
    assert captions.read_bytes() == content


def test_an_interrupted_start_goes_on(run: RunDirectory) -> None:
    """Without the captions, which are written last, the windows that are there are kept."""
    captions = run.data / "captions.json"
    content = captions.read_bytes()
    captions.unlink()
    windows = {path: path.stat().st_mtime_ns for path in (run.data / "windows").iterdir()}
    next(iter(windows)).unlink()
    draw_captioned_scenes(CONFIG, run.data)
    assert captions.read_bytes() == content
    after = {path: path.stat().st_mtime_ns for path in (run.data / "windows").iterdir()}
    assert after.keys() == windows.keys()
    assert sum(after[path] != time for path, time in windows.items()) == 1
