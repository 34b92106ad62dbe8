"""What lies under and around the objects: ground cover, fields, blocks of houses, rivers and coasts, trees.

Every kind of ground may lie under every class.
"""

import numpy as np
from jaxtyping import UInt8

from remoteclip_jax.scenes.noise import fractal, wander
from remoteclip_jax.scenes.palette import Palette, mix, shade
from remoteclip_jax.scenes.shapes import Part, Point, Points, blob, heading, rect, rotate, segment, strip


def cover(rng: np.random.Generator, pal: Palette, water: bool) -> UInt8[np.ndarray, "n n 4"]:
    """A coarse picture of the bare ground (RGB and roughness): vegetation, earth and woods, or open water."""
    n = 160
    first, second = fractal(rng, n, coarsest=2, octaves=6), fractal(rng, n, coarsest=4, octaves=5)

    def four(colour: tuple[int, int, int], rough: int) -> np.ndarray:
        return np.array([*colour, rough], np.float32)

    if water:
        deep, shallow = four(shade(pal.water, 0.85), 14), four(shade(pal.water, 1.15), 16)
        t = np.clip(0.5 + 0.3 * first, 0, 1)[..., None]
        return (deep + (shallow - deep) * t).astype(np.uint8)
    kinds = [
        four(pal.grass, 75),
        four(pal.soil, 60),
        four(shade(pal.tree, 1.15), 120),
        four(pal.sand, 40),
        four(pal.concrete, 35),
    ]
    a, b, c = (kinds[i] for i in rng.choice(5, 3, replace=False, p=(0.36, 0.26, 0.14, 0.12, 0.12)))
    t = np.clip(0.5 + first * rng.uniform(0.3, 1.2) + rng.normal(0, 0.5), 0, 1)[..., None]
    base = a + (b - a) * t
    edge = np.clip((second - rng.uniform(0.4, 2.0)) * 5, 0, 1)[..., None]
    return (base + (c - base) * edge).astype(np.uint8)


def fields(rng: np.random.Generator, pal: Palette) -> list[Part]:
    """A patchwork of fields with crop rows and hedges, cut from one turned rectangle."""
    parts: list[Part] = []
    angle, least = rng.uniform(0, np.pi), rng.uniform(0.1, 0.26)
    skew = np.array([[1.0, rng.uniform(-0.25, 0.25)], [0.0, 1.0]])
    hedge = shade(pal.tree, 1.05) if rng.random() < 0.5 else shade(pal.soil, 1.1)
    gap = rng.uniform(0.001, 0.006)

    def cut(x: float, y: float, w: float, h: float) -> None:
        if max(w, h) > least * rng.uniform(1.0, 2.6):
            t = rng.uniform(0.35, 0.65)
            if w > h:
                cut(x, y, w * t, h)
                cut(x + w * t, y, w * (1 - t), h)
            else:
                cut(x, y, w, h * t)
                cut(x, y + h * t, w, h * (1 - t))
            return
        colour, kind = pal.field(), rng.random()
        inner = rect(x + w / 2, y + h / 2, w - gap, h - gap)
        shapes, colours = [inner], [(colour, int(rng.integers(25, 85)))]
        if kind < 0.55:
            rows = shade(colour, rng.uniform(0.86, 1.12))
            along, pitch = rng.random() < 0.5, rng.uniform(0.006, 0.014)
            n = int((h if along else w) / pitch)
            for i in range(1, n):
                shapes.append(
                    rect(x + w / 2, y + h * i / n, w - gap, pitch * 0.45)
                    if along
                    else rect(x + w * i / n, y + h / 2, pitch * 0.45, h - gap)
                )
                colours.append((rows, 60))
        points = rotate(np.concatenate(shapes) @ skew, angle) + 0.5
        if (points.max(0) > 0).all() and (points.min(0) < 1).all():
            parts.extend(Part(points[4 * i : 4 * i + 4], *c, solid=False) for i, c in enumerate(colours))

    parts.append(Part(rect(0.5, 0.5, 3, 3), hedge, 80, solid=False))
    cut(-0.85, -0.85, 1.7, 1.7)
    return parts


def blocks(rng: np.random.Generator, pal: Palette, scale: float) -> tuple[list[Part], list[Part]]:
    """A street grid and the houses in its blocks (streets and yards, houses); `scale` is a house's length."""
    angle = rng.uniform(0, np.pi)
    across, along = scale * rng.uniform(3.2, 4.2), scale * rng.uniform(7, 14)
    yard = (pal.grass, pal.soil, pal.concrete)[rng.integers(3)]
    floor = [Part(rect(0.5, 0.5, 3, 3), pal.asphalt, 20, solid=False)]
    houses: list[Part] = []
    roofs = [pal.roof() for _ in range(4)]
    nx, ny = int(np.ceil(0.75 / along)), int(np.ceil(0.75 / across))
    origin = rng.uniform(-0.5, 0.5, 2) * (along, across)
    for i in range(-nx, nx + 1):
        for j in range(-ny, ny + 1):
            centre = np.array([i * along, j * across]) + origin
            seen = rotate(centre, angle) + 0.5
            if (np.abs(seen - 0.5) > 0.5 + along).any():
                continue
            ground = rotate(rect(centre[0], centre[1], along - 0.55 * scale, across - 0.55 * scale), angle) + 0.5
            floor.append(
                Part(ground, shade(mix(yard, pal.soil, rng.uniform(0, 0.5)), rng.uniform(0.85, 1.15)), 75, solid=False)
            )
            for row in (-1, 1):
                count = max(1, int((along - scale) / (1.35 * scale)))
                for k in range(count):
                    if rng.random() < 0.12:
                        continue
                    at = centre + np.array(((k + 0.5 - count / 2) * 1.35 * scale, row * across * 0.21))
                    at = rotate(at, angle) + 0.5
                    if (np.abs(at - 0.5) > 0.5 + scale).any():
                        continue
                    w, h = scale * rng.uniform(0.75, 1.1), scale * rng.uniform(0.6, 0.95)
                    houses += house(rng, at, w, h, angle, shade(roofs[rng.integers(4)], rng.uniform(0.8, 1.15)))
    return floor, houses


def house(
    rng: np.random.Generator, at: Point, w: float, h: float, angle: float, roof: tuple[int, int, int]
) -> list[Part]:
    """A building w x h at a point of the image, its roof flat or with a ridge; scenery."""
    x, y = float(at[0]), float(at[1])
    parts = [Part(rect(x, y, w, h, angle), roof, 16, height=0.4 * min(w, h), solid=False)]
    turned = np.array([-np.sin(angle), np.cos(angle)]) * h / 4
    if rng.random() < 0.6:
        parts.append(Part(rect(x + turned[0], y + turned[1], w, h / 2, angle), shade(roof, 0.82), 16, solid=False))
    else:
        parts.append(
            Part(rect(x - turned[0], y - turned[1], w * 0.25, h * 0.2, angle), shade(roof, 1.2), 10, solid=False)
        )
    return parts


class Coast:
    """A shore line across the image: water on one side."""

    def __init__(self, rng: np.random.Generator, share: float) -> None:
        """`share` is about the fraction of the image under water."""
        self.angle = heading(rng)
        self.shift = float((0.5 - share) * 1.05)
        n = 120
        self.u = np.linspace(-1.0, 1.0, n)
        self.v = self.shift + wander(rng, n) * rng.uniform(0.008, 0.045)
        if rng.random() < 0.4:  # a quay: straight
            self.v = np.full(n, self.shift) + 0.004 * np.round(self.v * 30)

    def distance(self, points: Points) -> np.ndarray:
        """Signed distance of points from the shore, in units of the image's side."""
        local = rotate(points - 0.5, -self.angle)
        return local[:, 1] - np.interp(local[:, 0], self.u, self.v)

    def parts(self, rng: np.random.Generator, pal: Palette) -> list[Part]:
        """Beach or quay, shallows, water."""
        line = np.stack([self.u, self.v], 1)
        out = []
        beach = mix(pal.sand, pal.concrete, rng.random())
        foam = mix(pal.water, (235, 235, 230), 0.5)
        for shift, colour, rough in (
            (-rng.uniform(0.006, 0.04), beach, 30),
            (0.0, foam, 60),
            (0.005, shade(pal.water, 1.15), 16),
            (0.03, pal.water, 15),
        ):
            water = np.concatenate([line + np.array((0, shift)), [[1.5, 2.0], [-1.5, 2.0]]])
            out.append(Part(rotate(water, self.angle) + 0.5, colour, rough, solid=False, wet=shift >= 0))
        return out + shoals(rng, pal, self)


def shoals(rng: np.random.Generator, pal: Palette, coast: Coast) -> list[Part]:
    """Water is not of one colour: depths, weeds and sediment, nested so that their edges are soft."""
    parts: list[Part] = []
    for centre in rng.uniform(-0.1, 1.1, (16, 2)):
        r = rng.uniform(0.05, 0.18)
        deep = float(coast.distance(centre[None])[0])
        if deep < 0.03 + r * 0.75:
            continue
        other = mix(pal.water, (pal.sand, pal.tree, pal.grass)[rng.integers(3)], rng.uniform(0.1, 0.5))
        shape = blob(rng, 0, 0, r, r * rng.uniform(0.4, 0.7), 0.25)
        for k, size in enumerate((1.0, 0.86, 0.72, 0.58)):
            colour = mix(pal.water, other, (k + 1) / 4)
            turned = rotate(shape * size, coast.angle) + centre
            parts.append(Part(turned, colour, 15, solid=False, wet=True))
    return parts


def river(rng: np.random.Generator, pal: Palette) -> tuple[list[Part], Points]:
    """A river from side to side, off the centre; its parts and its course."""
    n = 60
    v = rng.choice((-1, 1)) * rng.uniform(0.15, 0.4) + wander(rng, n) * 0.06
    course = rotate(np.stack([np.linspace(-0.9, 0.9, n), v], 1), rng.uniform(0, 2 * np.pi)) + 0.5
    width = rng.uniform(0.02, 0.09)
    bank = mix(pal.tree, pal.soil, rng.random())
    return [
        Part(strip(course, width * 1.5), bank, 90, solid=False),
        Part(strip(course, width), pal.water, 14, solid=False, wet=True),
    ], course


def pond(rng: np.random.Generator, pal: Palette, x: float, y: float, r: float) -> list[Part]:
    """A small lake."""
    shape = blob(rng, 0, 0, r, r * rng.uniform(0.5, 0.9), 0.3)
    return [
        Part(shape * 1.12 + np.array((x, y)), mix(pal.soil, pal.tree, 0.5), 80, solid=False),
        Part(shape + np.array((x, y)), pal.water, 14, solid=False, wet=True),
    ]


def track(pal: Palette, a: Point, b: Point, width: float) -> list[Part]:
    """An unpaved lane from a to b."""
    return [Part(segment(a[0], a[1], b[0], b[1], width), shade(pal.soil, 1.12), 50, solid=False)]
