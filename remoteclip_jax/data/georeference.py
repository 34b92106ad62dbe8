"""Where on Earth the pixels of an image lie, as its file says; read by rasterio, which the extra `geo` installs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from remoteclip_jax.data.gdal_parts import no_georeference_warning

NO_COORDINATES = "the file has no coordinates"
NO_RASTERIO = "coordinates need rasterio: pip install 'remoteclip-jax[geo]'"
MAP_EXTENSIONS = (".tif", ".tiff", ".jp2", ".j2k")  # formats in which maps are common
# The reader of GDAL by the first bytes of a file. Others might open more than the file itself.
DRIVERS = (
    (b"II*\0", "GTiff"),
    (b"MM\0*", "GTiff"),
    (b"II+\0", "GTiff"),  # BigTIFF
    (b"MM\0+", "GTiff"),
    (b"\0\0\0\x0cjP", "JP2OpenJPEG"),
    (b"\xff\x4f\xff\x51", "JP2OpenJPEG"),
    (b"\xff\xd8", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
)
MAX_MISFIT = 0.5  # pixels between ground control points and the affine transform that stands for them
LONGITUDE_LATITUDE = "OGC:CRS84"  # WGS 84, longitude first
EQUATOR, FLATTENING = 6378137.0, 1 / 298.257223563  # WGS 84: metres, and the flattening of the poles


@dataclass(frozen=True, eq=False)
class Georeference:
    """The place of an image on Earth.

    `matrix` takes a point (x, y, 1), in pixels of the upright image, to coordinates in the reference system `crs` (a
    `rasterio.crs.CRS`). (0, 0) is the outer upper left corner of the upper left pixel. `gsd` is the ground sample
    distance in the middle of the image: the side, in metres on the ground, of a square with the area of a pixel; None
    if it cannot be known.
    """

    matrix: Float64[np.ndarray, "2 3"]
    crs: Any
    gsd: float | None = None

    def coordinates(self, points: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
        """Points of the upright image, in pixels, as x and y in `crs`; for degrees these are longitude and latitude."""
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]

    def longitudes_latitudes(self, points: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
        """Points of the upright image, in pixels, in degrees of WGS 84; not finite where `crs` is not defined."""
        from rasterio.warp import transform

        x, y = self.coordinates(points).T.tolist()
        return np.array(transform(self.crs, LONGITUDE_LATITUDE, x, y), np.float64).T.reshape(-1, 2)

    @property
    def code(self) -> str | None:
        """The code of `crs`, such as "EPSG:32631"; None if it has none."""
        authority = self.crs.to_authority(confidence_threshold=100)
        return ":".join(authority) if authority else None


def read_georeference(path: Path, size: tuple[int, int], orientation: int = 1) -> Georeference | str:
    """The georeference of an image file, or in a few words why there is none.

    `size` is (width, height) of the upright image, and `orientation` the EXIF orientation that made it upright, as in
    `ImageHeader`. GDAL, below rasterio, reads the file's own tags, world files and .aux.xml files beside it.
    """
    try:
        import rasterio
    except ImportError:
        return NO_RASTERIO
    stored = size[::-1] if orientation >= 5 else size
    try:
        with path.open("rb") as start:
            first = start.read(16)
        driver = next((driver for signature, driver in DRIVERS if first.startswith(signature)), None)
        if driver is None:
            return NO_COORDINATES
        # A relative name might look like a URL.
        with no_georeference_warning(), rasterio.open(path.absolute(), driver=driver) as file:
            if (file.width, file.height) != stored:
                return "GDAL reads another image of the file"
            found = _affine_and_crs(file)
    except Exception as e:  # many kinds, some of them private to rasterio; the image itself could be read
        return f"GDAL cannot read its coordinates ({' '.join(str(e).split())})"
    if isinstance(found, str):
        return found
    matrix, crs = found
    place = Georeference(matrix @ _to_stored(orientation, *stored), crs)
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * np.array(size, np.float64)
    try:
        if np.linalg.det(matrix[:, :2]) and np.isfinite(place.longitudes_latitudes(corners)).all():
            return replace(place, gsd=_ground_sample_distance(place, size))
    except Exception:  # private to rasterio: PROJ knows no way from this system to WGS 84
        pass
    return "its coordinates cannot be converted to longitude and latitude"


def _affine_and_crs(file: Any) -> tuple[Float64[np.ndarray, "2 3"], Any] | str:
    """The matrix from pixels as stored, and its reference system; or why there are none."""
    if not file.transform.is_identity:
        if not file.crs:
            return "its coordinates have no reference system: gdal_translate -a_srs adds one"
        return _matrix(file.transform), file.crs
    points, crs = file.gcps
    if points and crs:
        return _fitted(points, crs)
    if points:
        return "its ground control points have no reference system"
    if file.rpcs is not None:
        return "it has rational polynomials (RPC) in place of coordinates: gdalwarp -rpc makes a map of it"
    return NO_COORDINATES


def _fitted(points: Any, crs: Any) -> tuple[Float64[np.ndarray, "2 3"], Any] | str:
    """The affine transform through ground control points, if there is one to within `MAX_MISFIT`."""
    pixels = np.array([[point.col, point.row, 1.0] for point in points])
    places = np.array([[point.x, point.y] for point in points])
    offset = places.mean(0)  # coordinates are large beside their differences
    solution, _, rank, _ = np.linalg.lstsq(pixels, places - offset, rcond=None)
    if rank < 3 or abs(np.linalg.det(solution[:2])) == 0:
        return f"its {len(points)} ground control points do not determine an affine transform"
    misfit = (pixels @ solution + offset - places) @ np.linalg.inv(solution[:2])
    if (most := float(np.linalg.norm(misfit, axis=1).max())) > MAX_MISFIT:
        return (
            f"no affine transform fits its ground control points (off by {most:.3g} pixels): gdalwarp makes a map of it"
        )
    matrix = solution.T.copy()
    matrix[:, 2] += offset
    return matrix, crs


def _matrix(affine: Any) -> Float64[np.ndarray, "2 3"]:
    return np.array([[affine.a, affine.b, affine.c], [affine.d, affine.e, affine.f]], np.float64)


def _to_stored(orientation: int, width: int, height: int) -> Float64[np.ndarray, "3 3"]:
    """The matrix from points of the upright image to points of the image as stored, `width` × `height`.

    It undoes what `images` does for each EXIF orientation.
    """
    along_x, along_y, from_right, from_bottom = [1, 0, 0], [0, 1, 0], [-1, 0, width], [0, -1, height]
    right_from_y, bottom_from_x = [0, -1, width], [-1, 0, height]
    column, row = {
        2: (from_right, along_y),
        3: (from_right, from_bottom),
        4: (along_x, from_bottom),
        5: (along_y, along_x),
        6: (along_y, bottom_from_x),
        7: (right_from_y, bottom_from_x),
        8: (right_from_y, along_x),
    }.get(orientation, (along_x, along_y))
    return np.array([column, row, [0, 0, 1]], np.float64)


def _ground_sample_distance(place: Georeference, size: tuple[int, int]) -> float | None:
    """From the area that a cross in the middle of the image spans on the ellipsoid, whatever the reference system and
    its unit: degrees, feet, or the metres of Web Mercator, which are longer than those on the ground."""
    centre, arms = np.array(size, np.float64) / 2, np.array([[-1, 0], [1, 0], [0, -1], [0, 1]], np.float64)
    reach = max(1.0, min(size) / 20)  # pixels: near enough to be straight, and far enough to be exact
    left, right, up, down = place.longitudes_latitudes(centre + reach * arms)
    latitude = np.radians(place.longitudes_latitudes(centre[None])[0, 1])
    eccentricity = FLATTENING * (2 - FLATTENING)
    root = np.sqrt(1 - eccentricity * np.sin(latitude) ** 2)
    metres = np.radians([np.cos(latitude) * EQUATOR / root, EQUATOR * (1 - eccentricity) / root**3])
    steps = np.array([right - left, down - up])
    steps[:, 0] = (steps[:, 0] + 180) % 360 - 180  # across the antimeridian
    area = abs(np.linalg.det(steps * metres / (2 * reach)))
    return float(np.sqrt(area)) if np.isfinite(area) and area > 0 else None
