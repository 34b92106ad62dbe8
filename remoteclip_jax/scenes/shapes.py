"""Flat polygons as the one building material: an object is a list of parts, its box the extent of the solid ones.

Lengths are relative to the image's side, angles in radians, y points down. Nothing here knows the number of pixels, so
the same scene can be drawn at any size.
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

    `rough` (0 to 255) is the strength of the surface's texture; `height` is how far it stands above its ground and
    `base` how high that ground is, both in the unit of `points` (only convex parts may stand: they cast a shadow);
    `solid` parts make up the object's outline, the others (wakes, aprons, roads leading away) are scenery,
    and `wet` ones are open water.
    """

    points: Points
    colour: Colour
    rough: int = 30
    height: float = 0.0
    base: float = 0.0
    solid: bool = True
    wet: bool = False


def rect(cx: float, cy: float, w: float, h: float, angle: float = 0.0) -> Points:
    """A rectangle of size (w, h) around (cx, cy), turned by `angle`."""
    x, y = w / 2, h / 2
    if not angle:
        return np.array([[cx - x, cy - y], [cx + x, cy - y], [cx + x, cy + y], [cx - x, cy + y]])
    c, s = math.cos(angle), math.sin(angle)
    ax, ay, bx, by = x * c, x * s, -y * s, y * c  # half axes; plain numbers, as this is called a thousand times a scene
    return np.array(
        [
            [cx - ax - bx, cy - ay - by],
            [cx + ax - bx, cy + ay - by],
            [cx + ax + bx, cy + ay + by],
            [cx - ax + bx, cy - ay + by],
        ]
    )


def disk(cx: float, cy: float, rx: float, ry: float | None = None, n: int = 24) -> Points:
    """An ellipse as a polygon of `n` corners."""
    t = np.arange(n) * (2 * np.pi / n)
    return np.stack([cx + rx * np.cos(t), cy + (rx if ry is None else ry) * np.sin(t)], 1)


def oval(half_length: float, radius: float, n: int = 40) -> Points:
    """Two half circles joined by straights, as a running track; `half_length` is from the centre to the apex."""
    t = np.linspace(-np.pi / 2, np.pi / 2, n // 2)
    half = np.stack([half_length - radius + radius * np.cos(t), radius * np.sin(t)], 1)
    return np.concatenate([half, -half])


def blob(
    rng: np.random.Generator, cx: float, cy: float, rx: float, ry: float, wobble: float = 0.2, n: int = 28
) -> Points:
    """An irregular, smooth closed curve: an ellipse whose radius wavers by about `wobble`."""
    t = np.arange(n) * (2 * np.pi / n)
    r = np.ones(n)
    for k in range(2, 6):
        r += wobble * rng.normal() / k * np.cos(k * t + rng.uniform(0, 2 * np.pi))
    r = np.clip(r, 0.45, 1.6)
    return np.stack([cx + rx * r * np.cos(t), cy + ry * r * np.sin(t)], 1)


def strip(line: Points, width: float | np.ndarray) -> Float[np.ndarray, "2*n 2"]:
    """The band of a given width (one number, or one for each point) along a polyline."""
    d = np.gradient(line, axis=0)
    normal = np.stack([-d[:, 1], d[:, 0]], 1) / np.maximum(np.hypot(d[:, 0], d[:, 1]), 1e-9)[:, None]
    half = normal * (np.asarray(width, np.float64).reshape(-1, 1) / 2)
    return np.concatenate([line + half, (line - half)[::-1]])


def arc(cx: float, cy: float, r: float, start: float, end: float, n: int = 12) -> Points:
    """The points of a circle's arc from angle `start` to angle `end`."""
    t = np.linspace(start, end, n)
    return np.stack([cx + r * np.cos(t), cy + r * np.sin(t)], 1)


def segment(x1: float, y1: float, x2: float, y2: float, width: float) -> Points:
    """A straight band from one point to another."""
    dx, dy = x2 - x1, y2 - y1
    length = max(float(np.hypot(dx, dy)), 1e-9)
    nx, ny = -dy / length * width / 2, dx / length * width / 2
    return np.array([[x1 + nx, y1 + ny], [x2 + nx, y2 + ny], [x2 - nx, y2 - ny], [x1 - nx, y1 - ny]])


def link(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, width: float) -> Points:
    """A straight band from point a to point b."""
    return segment(float(a[0]), float(a[1]), float(b[0]), float(b[1]), width)


def rotate(points: Float[np.ndarray, "*n 2"], angle: float) -> Float[np.ndarray, "*n 2"]:
    """Points, or one point, turned around the origin."""
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def place(parts: Sequence[Part], angle: float, scale: float, centre: Sequence[float] | np.ndarray) -> list[Part]:
    """The parts turned, scaled and moved, in this order; heights scale along."""
    if not parts:
        return []
    # One product for all parts together: the overhead of small numpy calls is what drawing time consists of.
    every = rotate(np.concatenate([p.points for p in parts]), angle) * scale + np.asarray(centre)
    out, at = [], 0
    for p in parts:
        n = len(p.points)
        out.append(p._replace(points=every[at : at + n], height=p.height * scale, base=p.base * scale))
        at += n
    return out


def extent(parts: Sequence[Part]) -> tuple[float, float, float, float]:
    """(x1, y1, x2, y2) of the solid parts."""
    return spans(parts, 0.0)


def spans(parts: Sequence[Part], angle: float) -> tuple[float, float, float, float]:
    """(x1, y1, x2, y2) of the solid parts once turned by `angle`."""
    points = rotate(np.concatenate([p.points for p in parts if p.solid]), angle)
    (x1, y1), (x2, y2) = points.min(0), points.max(0)
    return float(x1), float(y1), float(x2), float(y2)


def size_of(parts: Sequence[Part], angle: float) -> float:
    """sqrt(w·h) of the box that the parts have once turned by `angle`."""
    x1, y1, x2, y2 = spans(parts, angle)
    return math.sqrt((x2 - x1) * (y2 - y1))


def heading(rng: np.random.Generator) -> float:
    """A direction: any, but more often than not near one of the image's axes, as most that people lay out is."""
    if rng.random() < 0.3:
        return float(rng.uniform(0, 2 * np.pi))
    return float(rng.integers(4) * np.pi / 2 + rng.normal(0, 0.12))


def area(points: Points) -> float:
    """Area of a simple polygon."""
    if len(points) < 3:
        return 0.0
    x, y = points[:, 0], points[:, 1]
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def clip(points: Points) -> Float[np.ndarray, "m 2"]:
    """The polygon's part inside the unit square (Sutherland-Hodgman: one side after the other)."""
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
    """The tight box of what is seen inside the unit square and the fraction of area seen, or None if nothing is."""
    x1, y1, x2, y2 = extent(parts)
    if x1 >= 0 and y1 >= 0 and x2 <= 1 and y2 <= 1:
        return (x1, y1, x2, y2), 1.0
    solid = [p.points for p in parts if p.solid]
    seen = [c for c in map(clip, solid) if len(c) >= 3]
    if not seen:
        return None
    points = np.concatenate(seen)
    (x1, y1), (x2, y2) = points.min(0), points.max(0)
    # Parts overlap, so this is no exact area; but they do so inside and outside the image alike.
    return (float(x1), float(y1), float(x2), float(y2)), sum(map(area, seen)) / max(sum(map(area, solid)), 1e-12)
