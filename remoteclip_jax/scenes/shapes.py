"""Polygons, the parts that all objects are made of; the box of an object is the extent of its solid parts.

Lengths are relative to the image's side, angles are in radians, and y points down. Nothing depends on the number of
pixels, so the same scene can be rendered at any size.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Colour = tuple[int, int, int]
Points = Float[np.ndarray, "n 2"]
Point = Float[np.ndarray, "2"]


class Part(NamedTuple):
    """One filled polygon.

    `roughness` (0 to 255) is the strength of the surface's texture. `base_height` is the height of its foot above the
    ground and `height` that of its top above its foot, both in the unit of `points`. Parts with a height cast a shadow
    and must be convex. `solid` parts make up the object and its box; the others (wakes, aprons, roads leading away) are
    scenery. `is_water` marks open water.
    """

    points: Points
    colour: Colour
    roughness: int = 30
    height: float = 0.0
    base_height: float = 0.0
    solid: bool = True
    is_water: bool = False


def rect(cx: float, cy: float, w: float, h: float, angle: float = 0.0) -> Points:
    """A rectangle of size (w, h) around (cx, cy), rotated by `angle`."""
    x, y = w / 2, h / 2
    if not angle:
        return np.array([[cx - x, cy - y], [cx + x, cy - y], [cx + x, cy + y], [cx - x, cy + y]])
    c, s = math.cos(angle), math.sin(angle)
    ax, ay, bx, by = x * c, x * s, -y * s, y * c  # half axes; plain numbers: this is called a thousand times per scene
    return np.array(
        [
            [cx - ax - bx, cy - ay - by],
            [cx + ax - bx, cy + ay - by],
            [cx + ax + bx, cy + ay + by],
            [cx - ax + bx, cy - ay + by],
        ]
    )


def ellipse(cx: float, cy: float, rx: float, ry: float | None = None, n: int = 24) -> Points:
    """An ellipse, or a circle without `ry`, as a polygon of `n` corners."""
    t = np.arange(n) * (2 * np.pi / n)
    return np.stack([cx + rx * np.cos(t), cy + (rx if ry is None else ry) * np.sin(t)], 1)


def oval(half_length: float, radius: float, n: int = 40) -> Points:
    """Two half circles joined by straights, like a running track; `half_length` is from the centre to an apex."""
    t = np.linspace(-np.pi / 2, np.pi / 2, n // 2)
    half = np.stack([half_length - radius + radius * np.cos(t), radius * np.sin(t)], 1)
    return np.concatenate([half, -half])


def blob(
    rng: np.random.Generator, cx: float, cy: float, rx: float, ry: float, wobble: float = 0.2, n: int = 28
) -> Points:
    """An irregular, smooth closed curve: an ellipse whose radius varies by about the fraction `wobble`."""
    t = np.arange(n) * (2 * np.pi / n)
    r = np.ones(n)
    for k in range(2, 6):
        r += wobble * rng.normal() / k * np.cos(k * t + rng.uniform(0, 2 * np.pi))
    r = np.clip(r, 0.45, 1.6)
    return np.stack([cx + rx * r * np.cos(t), cy + ry * r * np.sin(t)], 1)


def strip(line: Points, width: float | np.ndarray) -> Float[np.ndarray, "2*n 2"]:
    """A strip along a polyline, of one width or of one width for each point."""
    d = np.gradient(line, axis=0)
    normal = np.stack([-d[:, 1], d[:, 0]], 1) / np.maximum(np.hypot(d[:, 0], d[:, 1]), 1e-9)[:, None]
    half = normal * (np.asarray(width, np.float64).reshape(-1, 1) / 2)
    return np.concatenate([line + half, (line - half)[::-1]])


def arc(cx: float, cy: float, r: float, start: float, end: float, n: int = 12) -> Points:
    """`n` points on a circular arc from angle `start` to angle `end`."""
    t = np.linspace(start, end, n)
    return np.stack([cx + r * np.cos(t), cy + r * np.sin(t)], 1)


def segment(x1: float, y1: float, x2: float, y2: float, width: float) -> Points:
    """A straight strip from (x1, y1) to (x2, y2)."""
    dx, dy = x2 - x1, y2 - y1
    length = max(float(np.hypot(dx, dy)), 1e-9)
    nx, ny = -dy / length * width / 2, dx / length * width / 2
    return np.array([[x1 + nx, y1 + ny], [x2 + nx, y2 + ny], [x2 - nx, y2 - ny], [x1 - nx, y1 - ny]])


def segment_between(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, width: float) -> Points:
    """A straight strip from point a to point b."""
    return segment(float(a[0]), float(a[1]), float(b[0]), float(b[1]), width)


def rotate(points: Float[np.ndarray, "*n 2"], angle: float) -> Float[np.ndarray, "*n 2"]:
    """Points [n, 2], or one point [2], rotated around the origin."""
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def transform(parts: Sequence[Part], angle: float, scale: float, centre: Sequence[float] | np.ndarray) -> list[Part]:
    """The parts rotated, scaled (with their heights) and moved, in this order."""
    if not parts:
        return []
    # One product for all parts together: most of the running time is the overhead of small NumPy calls.
    points = rotate(np.concatenate([p.points for p in parts]), angle) * scale + np.asarray(centre)
    transformed, start = [], 0
    for p in parts:
        n = len(p.points)
        transformed.append(
            p._replace(points=points[start : start + n], height=p.height * scale, base_height=p.base_height * scale)
        )
        start += n
    return transformed


def bounds(parts: Sequence[Part]) -> tuple[float, float, float, float]:
    """(x1, y1, x2, y2) of the solid parts."""
    return rotated_bounds(parts, 0.0)


def rotated_bounds(parts: Sequence[Part], angle: float) -> tuple[float, float, float, float]:
    """(x1, y1, x2, y2) of the solid parts after a rotation by `angle`."""
    points = rotate(np.concatenate([p.points for p in parts if p.solid]), angle)
    (x1, y1), (x2, y2) = points.min(0), points.max(0)
    return float(x1), float(y1), float(x2), float(y2)


def box_size(parts: Sequence[Part], angle: float) -> float:
    """sqrt(w·h) of the box of the parts after a rotation by `angle`."""
    x1, y1, x2, y2 = rotated_bounds(parts, angle)
    return math.sqrt((x2 - x1) * (y2 - y1))


def random_heading(rng: np.random.Generator) -> float:
    """A random direction in radians, mostly near one of the image's axes, as in built-up areas."""
    if rng.random() < 0.3:
        return float(rng.uniform(0, 2 * np.pi))
    return float(rng.integers(4) * np.pi / 2 + rng.normal(0, 0.12))


def polygon_area(points: Points) -> float:
    """The area of a simple polygon."""
    if len(points) < 3:
        return 0.0
    x, y = points[:, 0], points[:, 1]
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def clip_to_unit_square(points: Points) -> Float[np.ndarray, "m 2"]:
    """The part of a polygon inside the unit square (Sutherland & Hodgman 1974: one side after the other)."""
    for axis in (0, 1):
        for sign, bound in ((1.0, 0.0), (-1.0, -1.0)):
            if len(points) == 0:
                return points
            value = sign * points[:, axis] - bound
            if (value >= 0).all():
                continue
            following, after = np.roll(points, -1, 0), np.roll(value, -1)
            kept: list[np.ndarray] = []
            for p, q, a, b in zip(points, following, value, after, strict=True):
                if a >= 0:
                    kept.append(p)
                if (a >= 0) != (b >= 0):
                    kept.append(p + (q - p) * (a / (a - b)))
            points = np.array(kept).reshape(-1, 2)
    return points


def visible_box(parts: Sequence[Part]) -> tuple[tuple[float, float, float, float], float] | None:
    """The tight box of the solid parts inside the unit square, and their visible fraction; None if none is visible."""
    x1, y1, x2, y2 = bounds(parts)
    if x1 >= 0 and y1 >= 0 and x2 <= 1 and y2 <= 1:
        return (x1, y1, x2, y2), 1.0
    solid = [p.points for p in parts if p.solid]
    visible = [c for c in map(clip_to_unit_square, solid) if len(c) >= 3]
    if not visible:
        return None
    points = np.concatenate(visible)
    (x1, y1), (x2, y2) = points.min(0), points.max(0)
    # Parts overlap, so the areas are not exact; but they overlap alike inside and outside the image.
    return (float(x1), float(y1), float(x2), float(y2)), sum(map(polygon_area, visible)) / max(
        sum(map(polygon_area, solid)), 1e-12
    )
