"""Backgrounds: land cover, farmland, city blocks, houses, trees, coasts, rivers and ponds.

Every kind of background can occur with every class.
"""

import numpy as np
from jaxtyping import UInt8

from remoteclip_jax.scenes.noise import fractal_curve, fractal_noise
from remoteclip_jax.scenes.palette import Palette, mix, shade
from remoteclip_jax.scenes.shapes import Part, Point, Points, blob, ellipse, random_heading, rect, rotate, strip


def land_cover(rng: np.random.Generator, pal: Palette, water: bool) -> UInt8[np.ndarray, "n n 4"]:
    """A coarse image (RGB and roughness) of vegetation, bare soil and woods, or of open water."""
    n = 160
    first, second = fractal_noise(rng, n, coarsest=2, octaves=6), fractal_noise(rng, n, coarsest=4, octaves=5)

    def with_roughness(colour: tuple[int, int, int], roughness: int) -> np.ndarray:
        return np.array([*colour, roughness], np.float32)

    if water:
        deep, shallow = with_roughness(shade(pal.water, 0.85), 14), with_roughness(shade(pal.water, 1.15), 16)
        t = np.clip(0.5 + 0.3 * first, 0, 1)[..., None]
        return (deep + (shallow - deep) * t).astype(np.uint8)
    kinds = [
        with_roughness(pal.grass, 75),
        with_roughness(pal.soil, 60),
        with_roughness(shade(pal.tree, 1.15), 120),
        with_roughness(pal.sand, 40),
        with_roughness(pal.concrete, 35),
    ]
    a, b, c = (kinds[i] for i in rng.choice(5, 3, replace=False, p=(0.36, 0.26, 0.14, 0.12, 0.12)))
    t = np.clip(0.5 + first * rng.uniform(0.3, 1.2) + rng.normal(0, 0.5), 0, 1)[..., None]
    base = a + (b - a) * t
    edge = np.clip((second - rng.uniform(0.4, 2.0)) * 5, 0, 1)[..., None]
    return (base + (c - base) * edge).astype(np.uint8)


def farmland(rng: np.random.Generator, pal: Palette) -> list[Part]:
    """A patchwork of fields with crop rows and hedges: a rotated rectangle, divided recursively."""
    parts: list[Part] = []
    angle, min_side = rng.uniform(0, np.pi), rng.uniform(0.1, 0.26)
    skew = np.array([[1.0, rng.uniform(-0.25, 0.25)], [0.0, 1.0]])
    hedge = shade(pal.tree, 1.05) if rng.random() < 0.5 else shade(pal.soil, 1.1)
    gap = rng.uniform(0.001, 0.006)

    def divide(x: float, y: float, w: float, h: float) -> None:
        if max(w, h) > min_side * rng.uniform(1.0, 2.6):
            t = rng.uniform(0.35, 0.65)
            if w > h:
                divide(x, y, w * t, h)
                divide(x + w * t, y, w * (1 - t), h)
            else:
                divide(x, y, w, h * t)
                divide(x, y + h * t, w, h * (1 - t))
            return
        colour, kind = pal.crop(), rng.random()
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
    divide(-0.85, -0.85, 1.7, 1.7)
    return parts


def city_blocks(rng: np.random.Generator, pal: Palette, scale: float) -> tuple[list[Part], list[Part]]:
    """A street grid: its streets and yards, and the houses on them. `scale` is the length of a house."""
    angle = rng.uniform(0, np.pi)
    across, along = scale * rng.uniform(3.2, 4.2), scale * rng.uniform(7, 14)
    yard = (pal.grass, pal.soil, pal.concrete)[rng.integers(3)]
    streets = [Part(rect(0.5, 0.5, 3, 3), pal.asphalt, 20, solid=False)]
    houses: list[Part] = []
    roofs = [pal.roof() for _ in range(4)]
    nx, ny = int(np.ceil(0.75 / along)), int(np.ceil(0.75 / across))
    origin = rng.uniform(-0.5, 0.5, 2) * (along, across)
    for i in range(-nx, nx + 1):
        for j in range(-ny, ny + 1):
            centre = np.array([i * along, j * across]) + origin
            in_image = rotate(centre, angle) + 0.5
            if (np.abs(in_image - 0.5) > 0.5 + along).any():
                continue
            block = rotate(rect(centre[0], centre[1], along - 0.55 * scale, across - 0.55 * scale), angle) + 0.5
            streets.append(
                Part(block, shade(mix(yard, pal.soil, rng.uniform(0, 0.5)), rng.uniform(0.85, 1.15)), 75, solid=False)
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
    return streets, houses


def house(
    rng: np.random.Generator, at: Point, w: float, h: float, angle: float, roof: tuple[int, int, int]
) -> list[Part]:
    """A building of size w x h at a point of the image, with a flat or a ridged roof; never annotated."""
    x, y = float(at[0]), float(at[1])
    parts = [Part(rect(x, y, w, h, angle), roof, 16, height=0.4 * min(w, h), solid=False)]
    offset = np.array([-np.sin(angle), np.cos(angle)]) * h / 4
    if rng.random() < 0.6:
        parts.append(Part(rect(x + offset[0], y + offset[1], w, h / 2, angle), shade(roof, 0.82), 16, solid=False))
    else:
        parts.append(
            Part(rect(x - offset[0], y - offset[1], w * 0.25, h * 0.2, angle), shade(roof, 1.2), 10, solid=False)
        )
    return parts


def tree(rng: np.random.Generator, pal: Palette, x: float, y: float, r: float) -> list[Part]:
    """The crown of a tree, of radius `r`, with a lit side; never annotated."""
    shadow_angle = np.arctan2(pal.shadow_offset[1], pal.shadow_offset[0])
    colour = shade(pal.tree, rng.uniform(0.85, 1.5))
    lit = (x - np.cos(shadow_angle) * r * 0.25, y - np.sin(shadow_angle) * r * 0.25)
    rotation = rng.uniform(0, 6.3)
    corners = np.arange(9) * (2 * np.pi / 9) + rotation
    crown = np.stack([np.cos(corners), np.sin(corners)], 1) * (r * rng.uniform(0.8, 1.1, 9))[:, None]
    return [
        Part(crown + np.array((x, y)), shade(colour, 0.85), 110, height=0.8 * r, solid=False),
        Part(ellipse(*lit, 0.6 * r, n=7), shade(colour, 1.2), 130, solid=False),
    ]


class Coast:
    """A shoreline across the image, with water on one side.

    In coordinates rotated by `angle` around the image's centre it is the curve (u, v); the water lies at larger v.
    """

    def __init__(self, rng: np.random.Generator, water_fraction: float) -> None:
        """`water_fraction` is roughly the fraction of the image that is water."""
        self.angle = random_heading(rng)
        self.shift = float((0.5 - water_fraction) * 1.05)
        n = 120
        self.u = np.linspace(-1.0, 1.0, n)
        self.v = self.shift + fractal_curve(rng, n) * rng.uniform(0.008, 0.045)
        if rng.random() < 0.4:  # a straight quay
            self.v = np.full(n, self.shift) + 0.004 * np.round(self.v * 30)

    def signed_distance(self, points: Points) -> np.ndarray:
        """Distance of points from the shore, positive on the water; relative to the image's side."""
        local = rotate(points - 0.5, -self.angle)
        return local[:, 1] - np.interp(local[:, 0], self.u, self.v)

    def parts(self, rng: np.random.Generator, pal: Palette) -> list[Part]:
        """The polygons of beach or quay, shallows and water."""
        line = np.stack([self.u, self.v], 1)
        out = []
        beach = mix(pal.sand, pal.concrete, rng.random())
        foam = mix(pal.water, (235, 235, 230), 0.5)
        for shift, colour, roughness in (
            (-rng.uniform(0.006, 0.04), beach, 30),
            (0.0, foam, 60),
            (0.005, shade(pal.water, 1.15), 16),
            (0.03, pal.water, 15),
        ):
            water = np.concatenate([line + np.array((0, shift)), [[1.5, 2.0], [-1.5, 2.0]]])
            out.append(Part(rotate(water, self.angle) + 0.5, colour, roughness, solid=False, is_water=shift >= 0))
        return out + shoals(rng, pal, self)


def shoals(rng: np.random.Generator, pal: Palette, coast: Coast) -> list[Part]:
    """Shoals, weeds and sediment in the water, as nested polygons with soft edges."""
    parts: list[Part] = []
    for centre in rng.uniform(-0.1, 1.1, (16, 2)):
        r = rng.uniform(0.05, 0.18)
        distance = float(coast.signed_distance(centre[None])[0])
        if distance < 0.03 + r * 0.75:
            continue
        shoal = mix(pal.water, (pal.sand, pal.tree, pal.grass)[rng.integers(3)], rng.uniform(0.1, 0.5))
        shape = blob(rng, 0, 0, r, r * rng.uniform(0.4, 0.7), 0.25)
        for k, size in enumerate((1.0, 0.86, 0.72, 0.58)):
            colour = mix(pal.water, shoal, (k + 1) / 4)
            points = rotate(shape * size, coast.angle) + centre
            parts.append(Part(points, colour, 15, solid=False, is_water=True))
    return parts


def river(rng: np.random.Generator, pal: Palette) -> tuple[list[Part], Points]:
    """A river across the image, away from its centre: its parts and its course."""
    n = 60
    v = rng.choice((-1, 1)) * rng.uniform(0.15, 0.4) + fractal_curve(rng, n) * 0.06
    course = rotate(np.stack([np.linspace(-0.9, 0.9, n), v], 1), rng.uniform(0, 2 * np.pi)) + 0.5
    width = rng.uniform(0.02, 0.09)
    bank = mix(pal.tree, pal.soil, rng.random())
    return [
        Part(strip(course, width * 1.5), bank, 90, solid=False),
        Part(strip(course, width), pal.water, 14, solid=False, is_water=True),
    ], course


def pond(rng: np.random.Generator, pal: Palette, x: float, y: float, r: float) -> list[Part]:
    """A pond and its banks."""
    shape = blob(rng, 0, 0, r, r * rng.uniform(0.5, 0.9), 0.3)
    return [
        Part(shape * 1.12 + np.array((x, y)), mix(pal.soil, pal.tree, 0.5), 80, solid=False),
        Part(shape + np.array((x, y)), pal.water, 14, solid=False, is_water=True),
    ]
