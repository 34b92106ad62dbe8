"""The formats, read back as their programs read them; and the files of all images, whole or none."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from remoteclip_jax.data.georeference import NO_COORDINATES, NO_RASTERIO
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.errors import UserError
from remoteclip_jax.results import files
from remoteclip_jax.results.coco import coco_text
from remoteclip_jax.results.csv_file import csv_text
from remoteclip_jax.results.files import files_of_all, note_place, write_image_files
from remoteclip_jax.results.formats import FORMATS, parse_formats, reserved_names
from remoteclip_jax.results.image_result import ImageResult, ResultSettings
from remoteclip_jax.results.json_file import json_text
from remoteclip_jax.results.yolo import yolo_classes, yolo_text
from tests.data.test_georeference import HEIGHT, MAPS, WIDTH, placed, true_degrees, write_map

CLASSES = ("ship", '油罐, "large"', "bad\udcff\n")
BOXES = np.array([[1.25, 2, 31.5, 22], [0, 0, WIDTH, HEIGHT], [7, 8, 9, 10]], np.float32)
SCORES, LABELS = np.array([0.875, 0.5, 0.25], np.float32), np.array([1, 0, 2], np.int32)
FOUND = Detections(BOXES, SCORES, LABELS, CLASSES)
NOTHING = Detections(BOXES[:0], SCORES[:0], LABELS[:0], CLASSES)


@pytest.fixture
def results(tmp_path: Path) -> list[ImageResult]:
    """An image on the map, one without detections, and one whose name is not UTF-8."""
    place = placed(write_map(tmp_path / "map.tif", *MAPS["rotated"]))
    return [
        ImageResult(tmp_path / "map.tif", WIDTH, HEIGHT, FOUND, place),
        ImageResult(tmp_path / "sub" / "船.png", 300, 200, NOTHING, NO_COORDINATES),
        ImageResult(tmp_path / "bad\udcff.png", 100, 80, FOUND, NO_COORDINATES),
    ]


def picture(result: ImageResult) -> Image.Image:
    return Image.new("RGB", (result.width, result.height), (9, 90, 9))


def test_json(results: Sequence[ImageResult]) -> None:
    for result in results:
        content = json.loads(json_text(result))
        assert set(content) == {"image", "width", "height", "detections"}
        assert content["image"] == str(result.image)
        assert content["detections"] == result.found.to_json()


def test_yolo(results: Sequence[ImageResult]) -> None:
    """Class, centre, width and height as shares, score."""
    rows = np.loadtxt(io.StringIO(yolo_text(results[0])))
    np.testing.assert_array_equal(rows[:, 0], LABELS)
    centres, sides = rows[:, 1:3], rows[:, 3:5]
    corners = np.concatenate([centres - sides / 2, centres + sides / 2], 1) * [WIDTH, HEIGHT, WIDTH, HEIGHT]
    np.testing.assert_allclose(corners, BOXES, atol=1e-4)
    np.testing.assert_allclose(rows[:, 5], SCORES)
    assert yolo_text(results[1]) == ""
    assert yolo_classes(CLASSES).splitlines() == ["ship", '油罐, "large"', r"bad\udcff\n"]


def test_csv(results: Sequence[ImageResult]) -> None:
    text = csv_text(results, CLASSES)
    rows = list(csv.DictReader(io.StringIO(text.encode().decode())))
    assert list(rows[0]) == ["image", "label", "score", "x1", "y1", "x2", "y2", "lon", "lat"]
    assert len(rows) == 6
    assert [row["label"] for row in rows[:3]] == ['油罐, "large"', "ship", "bad\\udcff\n"]
    assert rows[3]["image"].endswith(r"bad\udcff.png")
    for row, box, score in zip(rows, np.tile(BOXES, (2, 1)), np.tile(SCORES, 2), strict=True):
        np.testing.assert_allclose([float(row[key]) for key in ("x1", "y1", "x2", "y2", "score")], [*box, score])
    centres = (BOXES[:, :2] + BOXES[:, 2:]).astype(np.float64) / 2
    degrees = [[float(row["lon"]), float(row["lat"])] for row in rows[:3]]
    np.testing.assert_allclose(degrees, true_degrees("rotated", centres), atol=1e-8, rtol=0)
    assert {row["lon"] + row["lat"] for row in rows[3:]} == {""}


def test_coco(results: Sequence[ImageResult], tmp_path: Path) -> None:
    (tmp_path / "all.json").write_text(coco_text(results, CLASSES))
    coco = COCO(tmp_path / "all.json")
    images = coco.loadImgs(coco.getImgIds())
    assert [image["file_name"] for image in images] == ["map.tif", "sub/船.png", "bad\udcff.png"]
    assert [(image["width"], image["height"]) for image in images] == [(WIDTH, HEIGHT), (300, 200), (100, 80)]
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    for image, result in zip(images, results, strict=True):
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        assert [one["category_id"] - 1 for one in annotations] == result.found.labels.tolist()
        boxes = np.array([one["bbox"] for one in annotations]).reshape(-1, 4)
        np.testing.assert_allclose(boxes[:, :2] + boxes[:, 2:], result.found.boxes[:, 2:])
        np.testing.assert_allclose([one["score"] for one in annotations], result.found.scores)
        assert [one["area"] for one in annotations] == pytest.approx(boxes[:, 2:].prod(1).tolist())
    empty = json.loads(coco_text([], CLASSES))
    assert (empty["images"], empty["annotations"]) == ([], [])


def test_the_files_of_an_image(results: Sequence[ImageResult], tmp_path: Path) -> None:
    """GeoJSON only where there is a place; if it alone was asked for, JSON in its place."""
    output = tmp_path / "out"
    output.mkdir()
    for formats, on_the_map, elsewhere in (
        (("json", "geojson"), {".jpg", ".json", ".geojson"}, {".jpg", ".json"}),
        (("geojson",), {".jpg", ".geojson"}, {".jpg", ".json"}),
        (("yolo", "coco", "csv"), {".jpg", ".txt"}, {".jpg", ".txt"}),
    ):
        for result, expected in ((results[0], on_the_map), (results[2], elsewhere)):
            write_image_files(output / "name.v2", result, picture(result), ResultSettings(formats, True))
            assert {path.name for path in output.iterdir()} == {f"name.v2{extension}" for extension in expected}
            for path in output.iterdir():
                path.unlink()


def test_the_files_of_all_images(results: Sequence[ImageResult], tmp_path: Path) -> None:
    settings = ResultSettings(tuple(FORMATS), True)
    with files_of_all(tmp_path, settings, CLASSES) as add:
        assert (tmp_path / "classes.txt").read_text() == yolo_classes(CLASSES)
        for result in results:
            add(result)
        assert not list(tmp_path.glob("detections*"))
    assert (tmp_path / "detections.csv").read_text() == csv_text(results, CLASSES)
    assert (tmp_path / "detections.coco.json").read_text() == coco_text(results, CLASSES)
    assert len(list(tmp_path.glob("detections*"))) == 2


def test_what_was_found_before_an_interrupt_is_kept(
    results: Sequence[ImageResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under another name, also while the command runs; the next complete run removes it."""
    settings = ResultSettings(("csv", "coco"), True)
    partial = {tmp_path / "detections.partial.csv", tmp_path / "detections.partial.coco.json"}

    def interrupted() -> None:
        with files_of_all(tmp_path, settings, CLASSES) as add:
            add(results[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert set(tmp_path.glob("detections*")) == partial
    assert (tmp_path / "detections.partial.csv").read_text() == csv_text(results[:1], CLASSES)
    monkeypatch.setattr(files, "PARTIAL_SECONDS", -1.0)
    monkeypatch.setattr(files, "PARTIAL_SHARE", float("inf"))
    with files_of_all(tmp_path, settings, CLASSES) as add:
        for i, result in enumerate(results, 1):
            add(result)
            assert (tmp_path / "detections.partial.csv").read_text() == csv_text(results[:i], CLASSES)
    assert set(tmp_path.glob("detections*")) == {tmp_path / "detections.csv", tmp_path / "detections.coco.json"}


def test_the_flags() -> None:
    assert parse_formats(None) == ResultSettings()
    assert parse_formats(None, "native") == ResultSettings(native=True)
    assert parse_formats(["CSV", " geojson", "csv"], "native") == ResultSettings(("csv", "geojson"), True, True)
    for names, crs, message in (
        (["geo-json"], "wgs84", "geo-json is unknown; known: json, geojson, coco, yolo, csv; did you mean geojson?"),
        ([], "wgs84", "--output_format= is unknown"),
        (["csv"], "native", "--geojson_crs=native is for GeoJSON, which --output_format=csv leaves out"),
    ):
        with pytest.raises(UserError) as error:
            parse_formats(names, crs)
        assert message in str(error.value)
    assert reserved_names(parse_formats(["yolo", "coco", "csv"])) == {"classes", "detections.coco"}
    assert reserved_names(ResultSettings()) == set()


def test_why_there_is_no_geojson_is_said_once() -> None:
    """Of images in general if the user asked for it, and otherwise of formats that maps have."""

    def lines(settings: ResultSettings, *names: str, reason: str = NO_COORDINATES) -> tuple[str, ...]:
        notes = Notes("images")
        for name in names:
            note_place(ImageResult(Path(name), 10, 10, NOTHING, reason), settings, notes)
        return notes.lines()

    names = ("a.jpg", "b.tif", "c.jp2")
    reason = "the file has no coordinates"
    assert lines(ResultSettings(), *names) == (f"images: 2 without GeoJSON: {reason} (first in b.tif)",)
    asked = ResultSettings(("json", "geojson"), True)
    assert lines(asked, *names) == (f"images: 3 without GeoJSON: {reason} (first in a.jpg)",)
    alone = ResultSettings(("geojson",), True)
    assert "3 without GeoJSON (JSON in its place): the file" in lines(alone, *names)[0]
    table = ResultSettings(("csv",), True)
    assert lines(table, *names) == (f"images: 2 without longitude and latitude: {reason} (first in b.tif)",)
    assert lines(ResultSettings(), "a.jpg") == ()
    (line,) = lines(asked, *names, reason=NO_RASTERIO)
    assert "without GeoJSON: coordinates need rasterio: pip install 'remoteclip-jax[geo]'" in line
