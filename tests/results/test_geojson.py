"""Polygons on the map, compared with pyproj and read back by GDAL."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer
from rasterio.transform import Affine

from remoteclip_jax.data.georeference import Georeference
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.results.csv_file import csv_text
from remoteclip_jax.results.geojson import geojson_text
from remoteclip_jax.results.image_result import ImageResult
from tests.data.test_georeference import HEIGHT, MAPS, SIZE, WIDTH, applied, pixels_apart, placed, write_map

BOXES = np.array([[0, 0, WIDTH, HEIGHT], [10.5, 4.25, 20, 12], [50, 30, 50.5, 31]], np.float32)
CLASSES = ("ship", "油罐")
FOUND = Detections(BOXES, np.array([0.9, 0.5, 0.25], np.float32), np.array([0, 1, 1], np.int32), CLASSES)


def geojson(place: Georeference, found: Detections = FOUND, native: bool = False) -> Any:
    return json.loads(geojson_text(ImageResult(Path("a.tif"), *SIZE, found, place, native)))


def signed_area(ring: Any) -> float:
    x, y = (np.array(ring, np.float64) - ring[0]).T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2


def rings(geometry: Any) -> list[np.ndarray]:
    """The exterior rings of a geometry, after checking what RFC 7946 demands of them."""
    polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    assert all(len(polygon) == 1 for polygon in polygons)
    for (ring,) in polygons:
        assert len(ring) >= 4
        assert ring[0] == ring[-1]
        assert signed_area(ring) > 0
        assert all(-180 <= x <= 180 and -90 <= y <= 90 for x, y in ring)
    return [np.array(polygon[0]) for polygon in polygons]


def four_corners(box: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = box.astype(np.float64)
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])


@pytest.mark.parametrize("name", MAPS)
def test_polygons_fall_on_the_objects(name: str, tmp_path: Path) -> None:
    """Each corner of a box is a corner of its polygon, to within a hundredth of a pixel."""
    crs, transform = MAPS[name]
    place = placed(write_map(tmp_path / "map.tif", crs, transform))
    content = geojson(place)
    assert set(content) == {"type", "features"}
    assert content["type"] == "FeatureCollection"
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    assert place.gsd is not None
    for feature, box in zip(content["features"], BOXES, strict=True):
        assert feature["type"] == "Feature"
        (ring,) = rings(feature["geometry"])
        expected = np.stack(to_degrees.transform(*applied(transform, four_corners(box)).T), 1)
        nearest = [min(ring.tolist(), key=lambda p, e=corner: np.hypot(*(p - e))) for corner in expected]
        assert len({tuple(point) for point in nearest}) == 4
        assert pixels_apart(np.array(nearest), expected, place.gsd) < 0.01
    properties = [feature["properties"] for feature in content["features"]]
    assert properties == FOUND.to_json()
    assert [p["label"] for p in properties] == ["ship", "油罐", "油罐"]


@pytest.mark.parametrize("name", ["UTM", "degrees", "mirrored"])
def test_in_the_coordinates_of_the_image(name: str, tmp_path: Path) -> None:
    crs, transform = MAPS[name]
    content = geojson(placed(write_map(tmp_path / "map.tif", crs, transform)), native=True)
    authority, code = crs.split(":")
    assert content["crs"] == {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{authority}::{code}"}}
    for feature, box in zip(content["features"], BOXES, strict=True):
        (ring,) = feature["geometry"]["coordinates"]
        assert signed_area(ring) > 0
        expected = applied(transform, four_corners(box))
        np.testing.assert_allclose(sorted(ring[:-1]), sorted(expected.tolist()), atol=1e-4, rtol=0)


def test_a_system_without_a_code_is_written_in_wgs84(tmp_path: Path) -> None:
    crs = "+proj=laea +lat_0=51 +lon_0=9.3 +ellps=GRS80 +units=m"
    place = placed(write_map(tmp_path / "map.tif", crs, Affine(2, 0, 0, 0, -2, 0)))
    assert place.code is None
    content = geojson(place, native=True)
    assert "crs" not in content
    assert content == geojson(place)


def test_without_detections(tmp_path: Path) -> None:
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), CLASSES)
    place = placed(write_map(tmp_path / "map.tif", *MAPS["UTM"]))
    for native in (False, True):
        assert geojson(place, nothing, native)["features"] == []


@pytest.mark.parametrize("mirrored", [False, True])
def test_cut_at_the_antimeridian(mirrored: bool, tmp_path: Path) -> None:
    """From 179.998° on, an object lies on either side: as two polygons whose areas add up, none around the globe."""
    start, step = (-179.996, -1e-4) if mirrored else (179.998, 1e-4)
    place = placed(write_map(tmp_path / "map.tif", "EPSG:4326", Affine(step, 0, start, 0, -1e-4, -16)))
    whole, west, tiny = (feature["geometry"] for feature in geojson(place)["features"])
    assert whole["type"] == "MultiPolygon"
    parts = rings(whole)
    assert len(parts) == 2
    assert {bool((part[:, 0] > 0).all()) for part in parts} == {True, False}
    assert sum(signed_area(part) for part in parts) == pytest.approx(WIDTH * HEIGHT * 1e-8)
    assert all(np.ptp(part[:, 0]) < 0.01 for part in parts)
    for single, box in ((west, BOXES[1]), (tiny, BOXES[2])):
        sides = box[2:] - box[:2]
        assert sum(map(signed_area, rings(single))) == pytest.approx(sides.prod() * 1e-8, rel=1e-3)


def test_an_edge_on_the_antimeridian_is_not_cut(tmp_path: Path) -> None:
    for start in (180 - WIDTH * 2**-10, -180.0):
        place = placed(write_map(tmp_path / "map.tif", "EPSG:4326", Affine(2**-10, 0, start, 0, -(2**-10), 10)))
        assert [feature["geometry"]["type"] for feature in geojson(place)["features"]] == ["Polygon"] * 3


def test_beyond_the_pole_and_the_antimeridian(tmp_path: Path) -> None:
    place = placed(write_map(tmp_path / "map.tif", "EPSG:4326", Affine(1.0, 0, 175, 0, -1.0, 90.5)))
    for feature in geojson(place)["features"]:
        rings(feature["geometry"])
    table = csv_text([ImageResult(Path("a.tif"), *SIZE, FOUND, place)], CLASSES)
    assert all(-180 <= float(row["lon"]) < 180 for row in csv.DictReader(io.StringIO(table)))


def test_around_the_pole(tmp_path: Path) -> None:
    """A box around the pole reaches to it, at all longitudes."""
    transform = Affine(100, 0, -50 * WIDTH, 0, -100, 50 * HEIGHT)
    place = placed(write_map(tmp_path / "map.tif", "EPSG:3031", transform))
    parts = rings(geojson(place)["features"][0]["geometry"])
    points = np.concatenate(parts)
    assert points[:, 1].min() == -90
    assert (points[:, 0].min(), points[:, 0].max()) == (-180, 180)
    assert sum(np.ptp(part[:, 0]) for part in parts) == pytest.approx(360)
