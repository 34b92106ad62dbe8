"""Users' data that broke the program, as ../shared/field_reports makes them: each is read right, or said."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.evaluation.detection import evaluate_detections
from tests.shared_data import REPORTS, SHARED, make_report, requires_reports

pytestmark = requires_reports


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("reports")
    for maker in sorted(REPORTS.glob("make_*.py")):
        make_report(maker.stem.split("_")[1], output)
    return output


@pytest.mark.parametrize(
    "place",
    [
        "01-coco-string-ids/data",
        "01-coco-string-ids/data-category",
        *(f"02-coco-file-names/{kind}" for kind in ("backslash", "images-slash", "split-slash", "parent", "url")),
        *(f"03-coco2017-layout/{kind}" for kind in ("coco2017", "valid-coco", "valid-flat", "roboflow")),
        "19-size-stated-otherwise/data",
    ],
)
def test_airplanes_however_they_are_written(reports: Path, place: str) -> None:
    """The same boxes as in the data set that these were made from, in training and, where there is one, validation."""
    original = {x.image.stem: x for x in read_dataset(SHARED / "gdit_airport", "train", classes=("airplane",)).examples}
    original |= {x.image.stem: x for x in read_dataset(SHARED / "gdit_airport", "val", classes=("airplane",)).examples}
    for split, count in (("train", 8), ("val", 4)):
        if split == "val" and place.startswith("19"):
            continue
        dataset = read_dataset(reports / place, split, classes=("airplane",))
        assert len(dataset) == count
        for example in dataset.examples:
            np.testing.assert_allclose(example.boxes, original[example.image.stem].boxes, atol=1e-5)
    if place.startswith("19"):
        assert any("1200x1200" in note or "size" in note for note in dataset.notes), dataset.notes


def test_class_folders_whose_validation_is_called_valid(reports: Path) -> None:
    folder = reports / "03-coco2017-layout/valid-folder"
    assert len(read_dataset(folder, "train")) == 24
    assert len(read_dataset(folder, "val")) == 6


def test_deep_images_look_like_the_picture_they_were_made_from(reports: Path) -> None:
    folder = reports / "05-deep-geotiff/scenes"
    expected = np.asarray(Image.open(SHARED / "gdit_airport/images/airport_1.jpg").convert("RGB")).astype(float)
    for path in (*sorted(folder.glob("rgb*.tif")), folder / "seven_bands_uint8.tif"):
        np.testing.assert_array_equal(np.asarray(read_image(path)), expected, err_msg=path.name)
    for path in sorted(folder.glob("pan*.tif")):  # one band, stretched: as bright on the whole, and as rich
        found = np.asarray(read_image(path)).astype(float)[60:]
        assert np.corrcoef(found.mean(-1).ravel(), expected[60:, :, 0].ravel())[0, 1] > 0.97, path.name
        assert 60 < found.mean() < 190, path.name
    assert len(read_dataset(reports / "05-deep-geotiff/data", "train")) == 8


def test_three_hundred_cars_are_within_reach(reports: Path) -> None:
    dataset = read_dataset(reports / "06-many-objects/data", "test")
    assert [len(x.labels) for x in dataset.examples] == [300, 300]
    found = []
    for x in dataset.examples:
        centres, sides = x.boxes[:, :2] * 600, x.boxes[:, 2:] * 600
        boxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1).astype(np.float32)
        found.append(Detections(boxes, np.ones(300, np.float32), x.labels.astype(np.int32), dataset.classes))
    assert evaluate_detections(dataset, found)["map_50_all"] == 1.0


@pytest.mark.parametrize(("kind", "key"), [("coco", "map_50"), ("voc", "voc_map_50")])
def test_what_is_ignored_counts_neither_way(reports: Path, kind: str, key: str) -> None:
    """The one object found, and four detections in a crowd, or both of the difficult objects."""
    dataset = read_dataset(reports / "12-ignored-regions" / kind, "test", classes=("vehicle",))
    inside = [[310, 310, 330, 330], [350, 350, 380, 380], [400, 400, 420, 420], [450, 450, 480, 480]]
    difficult = [[300, 300, 320, 310], [400, 300, 420, 310]]
    boxes = np.array([*(inside if kind == "coco" else difficult), [100, 100, 140, 120]], np.float32)
    scores, labels = np.linspace(0.9, 0.5, len(boxes)).astype(np.float32), np.zeros(len(boxes), np.int32)
    result = evaluate_detections(dataset, [Detections(boxes, scores, labels, dataset.classes)])
    assert result[key] == pytest.approx(1.0)
    assert result["ignored"] == (1 if kind == "coco" else 2)
    assert json.dumps(dataset.notes).count("ignored") >= 1
