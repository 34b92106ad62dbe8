"""GeoJSON (RFC 7946): each box as a polygon on the map."""

import json
from typing import Any

import numpy as np
from jaxtyping import Float64

from remoteclip_jax.data.georeference import Georeference
from remoteclip_jax.results.image_result import ImageResult

DEGREE_DECIMALS = 8  # about a millimetre
METRE_DECIMALS = 4

Ring = list[tuple[float, float]]


def geojson_text(result: ImageResult) -> str:
    """A FeatureCollection in longitude and latitude of WGS 84, with a polygon for each detection and its `label`,
    `score` and `box` in pixels.

    A box that the antimeridian cuts is a MultiPolygon (section 3.1.9). If `result.native`, coordinates are those of the
    image's own reference system, named by the member `crs` that GeoJSON had before RFC 7946 and that GIS programs read;
    unless that system has no code. Only the corners are transformed, for a box is too small for its sides to bend.
    """
    assert isinstance(result.place, Georeference)
    place = result.place
    content: dict[str, Any] = {"type": "FeatureCollection"}
    code = place.code if result.native else None
    corners = _corners(result.found.boxes.astype(np.float64))
    if code is not None:
        authority, number = code.split(":")
        name = {"name": f"urn:ogc:def:crs:{authority}::{number}"}
        content["crs"] = {"type": "name", "properties": name}
        decimals = DEGREE_DECIMALS if place.crs.is_geographic else METRE_DECIMALS
        geometries = [_polygon(ring.tolist(), decimals) for ring in place.coordinates(corners).reshape(-1, 4, 2)]
    else:
        degrees = place.longitudes_latitudes(corners) if len(corners) else corners
        geometries = [_on_the_globe(ring) for ring in degrees.reshape(-1, 4, 2)]
    features = [
        {"type": "Feature", "properties": properties, "geometry": geometry}
        for properties, geometry in zip(result.found.to_json(), geometries, strict=True)
    ]
    return json.dumps({**content, "features": features}) + "\n"


def _corners(boxes: Float64[np.ndarray, "n 4"]) -> Float64[np.ndarray, "m 2"]:
    """The corners of all boxes, four for each, one after the other around it."""
    return boxes[:, [0, 1, 0, 3, 2, 3, 2, 1]].reshape(-1, 2)


def _on_the_globe(ring: Float64[np.ndarray, "4 2"]) -> dict[str, Any]:
    """The geometry of a quadrilateral, given in longitude and latitude."""
    longitudes = np.unwrap(ring[:, 0], period=360)  # each corner by the shorter way from the one before
    latitudes = np.clip(ring[:, 1], -90, 90)  # grids of the whole Earth may reach half a pixel beyond the pole
    turned = list(zip(longitudes.tolist(), latitudes.tolist(), strict=True))
    around = np.unwrap([longitudes[-1], longitudes[0]], period=360)
    whole_turn = round((around[1] - longitudes[0]) / 360)
    if whole_turn:  # it has a pole inside: close it along that
        pole = float(np.copysign(90, ring[:, 1].mean()))
        x, y = turned[0]
        turned += [(x + 360 * whole_turn, y), (x + 360 * whole_turn, pole), (x, pole)]
    west, east = min(x for x, _ in turned), max(x for x, _ in turned)
    # The antimeridians ..., -180, 180, 540, ... cut the plane into strips, of which the ring may lie in several.
    first, end = int(np.floor((west + 180) / 360)), int(np.ceil((east + 180) / 360))
    rings = []
    for strip in range(first, max(end, first + 1)):
        low, high = 360.0 * strip - 180, 360.0 * strip + 180
        part = _cut(_cut(turned, low, 1), high, -1)
        rings.append([(x - 360 * strip, y) for x, y in part])
    polygons = [_polygon(part, DEGREE_DECIMALS) for part in rings if len(part) > 2]
    if len(polygons) == 1:
        return polygons[0]
    return {"type": "MultiPolygon", "coordinates": [polygon["coordinates"] for polygon in polygons]}


def _cut(ring: Ring, limit: float, sign: int) -> Ring:
    """The part of a ring where `sign` · x ≥ `sign` · `limit` (Sutherland and Hodgman 1974)."""
    kept: Ring = []
    for (x0, y0), (x1, y1) in zip(ring[-1:] + ring[:-1], ring, strict=True):
        if (sign * x0 < sign * limit) != (sign * x1 < sign * limit):
            kept.append((limit, y0 + (limit - x0) / (x1 - x0) * (y1 - y0)))
        if sign * x1 >= sign * limit:
            kept.append((x1, y1))
    return kept


def _polygon(ring: Any, decimals: int) -> dict[str, Any]:
    """A closed polygon, counter-clockwise (section 3.1.6) also where the image's transform mirrors."""
    x, y = np.array(ring, np.float64).T
    x, y = x - x[0], y - y[0]  # coordinates are large beside their differences
    if np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) < 0:
        ring = ring[::-1]
    points = [[round(value, decimals) for value in point] for point in ring]
    return {"type": "Polygon", "coordinates": [[*points, points[0]]]}
