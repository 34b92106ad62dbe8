"""Where pixels lie on Earth, compared with pyproj."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image
from pyproj import Geod, Transformer
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import Affine

from remoteclip_jax.data import georeference
from remoteclip_jax.data.georeference import Georeference, read_georeference
from remoteclip_jax.data.images import read_header, read_image

WIDTH, HEIGHT = 60, 40
SIZE = (WIDTH, HEIGHT)
UTM = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
DEGREES = Affine(1e-5, 0, 116.3, 0, -8e-6, 39.9)
# Reference system and transform of images that GIS programs write, and of rarer ones.
MAPS = {
    "UTM": ("EPSG:32631", UTM),
    "Web Mercator": ("EPSG:3857", Affine(0.6, 0, 1_200_000, 0, -0.6, 6_800_000)),
    "degrees": ("EPSG:4326", DEGREES),
    "rotated": ("EPSG:32722", Affine(0.4, 0.3, 300_000, 0.3, -0.4, 7_000_000)),
    "sheared": ("EPSG:32631", Affine(0.5, 0.2, 500_000, 0, -0.5, 5_000_000)),
    "south up": ("EPSG:32631", Affine(0.5, 0, 500_000, 0, 0.5, 5_000_000)),
    "mirrored": ("EPSG:32631", Affine(-0.5, 0, 500_000, 0, -0.5, 5_000_000)),
    "feet": ("EPSG:2263", Affine(1, 0, 980_000, 0, -1, 200_000)),
    "polar": ("EPSG:3031", Affine(50, 0, -900_000, 0, -50, 1_200_000)),
}
POINTS = np.array([[0, 0], [WIDTH, 0], [0, HEIGHT], [WIDTH, HEIGHT], [17.25, 30.5]], np.float64)


def write_map(path: Path, crs: Any = None, transform: Any = None, **options: Any) -> Path:
    profile = {"driver": "GTiff", "width": WIDTH, "height": HEIGHT, "count": 3, "dtype": "uint8", "crs": crs}
    with rasterio.open(path, "w", **profile, transform=transform, **options) as file:
        file.write(np.full((3, HEIGHT, WIDTH), 90, np.uint8))
    return path


def placed(path: Path, **options: Any) -> Georeference:
    found = read_georeference(path, SIZE, **options)
    assert isinstance(found, Georeference), found
    return found


def applied(transform: Affine, points: np.ndarray) -> np.ndarray:
    x, y = points.T
    return np.stack(
        [transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f], 1
    )


def true_degrees(name: str, points: np.ndarray) -> np.ndarray:
    crs, transform = MAPS[name]
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    return np.stack(to_degrees.transform(*applied(transform, points).T), 1)


def pixels_apart(a: np.ndarray, b: np.ndarray, gsd: float) -> float:
    """The largest distance of points in longitude and latitude, in pixels of `gsd` metres."""
    return float(np.max(Geod(ellps="WGS84").inv(*a.T, *b.T)[2])) / gsd


@pytest.mark.parametrize("name", MAPS)
def test_as_pyproj(name: str, tmp_path: Path) -> None:
    place = placed(write_map(tmp_path / "map.tif", *MAPS[name]))
    expected = true_degrees(name, POINTS)
    assert place.code == MAPS[name][0]
    assert place.gsd is not None
    assert pixels_apart(place.longitudes_latitudes(POINTS), expected, place.gsd) < 0.01
    centre = np.array(SIZE) / 2
    corners = true_degrees(name, centre + np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]) * 20)
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter(*corners.T)
    assert place.gsd == pytest.approx(np.sqrt(abs(area)) / 20, rel=2e-3)


def test_gsd_is_on_the_ground(tmp_path: Path) -> None:
    """Metres of Web Mercator are longer than those on the ground, and a foot is 0.3048 m."""
    places = {name: placed(write_map(tmp_path / "map.tif", *MAPS[name])) for name in MAPS}
    latitude = np.radians(places["Web Mercator"].longitudes_latitudes(np.array([[30.0, 20.0]]))[0, 1])
    assert places["UTM"].gsd == pytest.approx(0.5, rel=5e-4)  # the zone's scale is 0.9996 in its middle
    assert places["Web Mercator"].gsd == pytest.approx(0.6 * np.cos(latitude), rel=5e-3)
    assert places["feet"].gsd == pytest.approx(0.3048, rel=5e-4)
    assert places["rotated"].gsd == pytest.approx(0.5, rel=1e-3)


def test_across_the_antimeridian(tmp_path: Path) -> None:
    path = write_map(tmp_path / "map.tif", "EPSG:32701", Affine(10, 0, 166_021.44 - 300, 0, -10, 10_000_000))
    longitudes = placed(path).longitudes_latitudes(POINTS)[:, 0]
    assert longitudes.min() < -179.9
    assert longitudes.max() > 179.9
    assert placed(path).gsd == pytest.approx(10, rel=2e-3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_of_a_turned_image_fall_where_its_pixels_are(orientation: int, tmp_path: Path) -> None:
    """A pixel is found in the upright image, and its centre is where the stored pixel is."""
    write_map(tmp_path / "map.tif", *MAPS["rotated"])
    with tifffile.TiffFile(tmp_path / "map.tif", mode="r+b") as file:
        geo = [(tag.code, tag.dtype, tag.count, tag.value) for tag in file.pages[0].tags if tag.code > 33000]
    path = tmp_path / "turned.tif"
    stored = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    column, row = 47, 9
    stored[row, column] = 255
    tags = [*geo, (274, "H", 1, orientation)]
    tifffile.imwrite(path, stored, photometric="rgb", extratags=tags, metadata=None)
    header = read_header(path)
    assert header.orientation == orientation
    y, x = np.argwhere(np.asarray(read_image(path))[..., 0] == 255)[0]
    place = read_georeference(path, header.size, header.orientation)
    assert isinstance(place, Georeference)
    expected = applied(MAPS["rotated"][1], np.array([[column + 0.5, row + 0.5]]))
    np.testing.assert_allclose(place.coordinates(np.array([[x + 0.5, y + 0.5]])), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["area", "point"])
def test_pixel_is_area_or_point(kind: str, tmp_path: Path) -> None:
    """Where the file places pixels by their centres, (0, 0) is half a pixel before the first of them."""
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1 if kind == "area" else 2, 3072, 0, 1, 32631)
    tags = [
        (33550, "d", 3, (10.0, 10.0, 0.0)),
        (33922, "d", 6, (0.0, 0.0, 0.0, 500_000.0, 5_000_000.0, 0.0)),
        (34735, "H", len(keys), keys),
    ]
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    tifffile.imwrite(tmp_path / "map.tif", pixels, photometric="rgb", extratags=tags, metadata=None)
    corner = placed(tmp_path / "map.tif").coordinates(np.zeros((1, 2)))[0]
    expected = (500_000, 5_000_000) if kind == "area" else (499_995, 5_000_005)
    np.testing.assert_allclose(corner, expected)


def control_points(*moved: float) -> list[GroundControlPoint]:
    """Points in the corners of an image in UTM; the last one is `moved` by metres."""
    corners = [(0, 0), (0, WIDTH), (HEIGHT, 0), (HEIGHT, WIDTH)]
    points = [GroundControlPoint(row, column, 500_000 + column / 2, 5_000_000 - row / 2) for row, column in corners]
    points[-1].x += sum(moved)
    return points


def test_ground_control_points(tmp_path: Path) -> None:
    options = {"gcps": control_points(), "crs": "EPSG:32631"}
    place = placed(write_map(tmp_path / "exact.tif", **options))
    np.testing.assert_allclose(place.coordinates(POINTS), applied(UTM, POINTS), atol=1e-4)
    options["gcps"] = control_points(4.0)  # eight pixels, of which a quarter is left in each corner
    message = str(read_georeference(write_map(tmp_path / "bent.tif", **options), SIZE))
    assert re.match(r"no affine transform fits its ground control points \(off by 1\.88 pixels\): gdalwarp", message)
    options["gcps"] = control_points()[:2]
    message = read_georeference(write_map(tmp_path / "two.tif", **options), SIZE)
    assert message == "its 2 ground control points do not determine an affine transform"


def test_world_files(tmp_path: Path) -> None:
    """They place the centre of the first pixel, and name no reference system; an .aux.xml file beside them does."""
    path = tmp_path / "photo.jpg"
    Image.new("RGB", SIZE).save(path)
    assert read_georeference(path, SIZE) == "the file has no coordinates"
    (tmp_path / "photo.jgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n4999999.75\n")
    assert "no reference system: gdal_translate -a_srs adds one" in str(read_georeference(path, SIZE))
    (tmp_path / "photo.jpg.aux.xml").write_text("<PAMDataset><SRS>EPSG:32631</SRS></PAMDataset>")
    np.testing.assert_allclose(placed(path).coordinates(POINTS), applied(UTM, POINTS), atol=1e-6)


def test_why_there_are_no_coordinates(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    polynomial = [1.0] + [0.0] * 19
    rpcs = RPC(100, 10, 40, 1, polynomial, polynomial, 20, 20, 7, 1, polynomial, polynomial, 30, 30)
    engineering = 'LOCAL_CS["site",UNIT["metre",1]]'
    for name, options, expected in (
        ("plain", {}, "the file has no coordinates"),
        ("bare", {"transform": UTM}, "its coordinates have no reference system: gdal_translate -a_srs adds one"),
        ("rpc", {"rpcs": rpcs}, "it has rational polynomials (RPC) in place of coordinates: gdalwarp -rpc makes a map"),
        ("site", {"transform": UTM, "crs": engineering}, "cannot be converted to longitude and latitude"),
        (
            "far",
            {"transform": Affine(1e12, 0, 0, 0, -1e12, 0), "crs": "EPSG:32631"},
            "cannot be converted to longitude",
        ),
        ("flat", {"transform": Affine(0, 0, 5e5, 0, 0, 5e6), "crs": "EPSG:32631"}, "cannot be converted to"),
    ):
        recwarn.clear()
        path = write_map(tmp_path / f"{name}.tif", **options)
        recwarn.clear()
        assert expected in str(read_georeference(path, SIZE)), name
        assert not recwarn.list
    assert read_georeference(tmp_path / "plain.tif", (HEIGHT, WIDTH)) == "GDAL reads another image of the file"
    (tmp_path / "cut.tif").write_bytes((tmp_path / "plain.tif").read_bytes()[:100])
    assert str(read_georeference(tmp_path / "cut.tif", SIZE)).startswith("GDAL cannot read its coordinates (")
    Image.new("RGB", SIZE).save(tmp_path / "image.webp")
    assert read_georeference(tmp_path / "image.webp", SIZE) == "the file has no coordinates"


@pytest.mark.parametrize("name", ["船.tif", "a b?c#d.tif", "http:x.tif", "[1].tif"])
def test_names_are_not_addresses(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_map(tmp_path / "map.tif", *MAPS["UTM"]).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert placed(Path(name)).code == "EPSG:32631"


def test_without_rasterio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_map(tmp_path / "map.tif", *MAPS["UTM"])
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert read_georeference(path, SIZE) == georeference.NO_RASTERIO
    assert "pip install 'remoteclip-jax[geo]'" in georeference.NO_RASTERIO
