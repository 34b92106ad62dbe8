"""Industry and water: storage tanks, chimneys, windmills, dams and harbours. The parts are about one unit long."""

import numpy as np

from remoteclip_jax.scenes.palette import Palette, mix, shade
from remoteclip_jax.scenes.shapes import Part, ellipse, rect, segment, strip


def storagetank(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """A round tank with a fixed or a floating roof. Its lit side faces the sun, so it must not be rotated."""
    roof = pal.paint()
    shadow_angle = np.arctan2(pal.shadow_offset[1], pal.shadow_offset[0])
    dx, dy = np.cos(shadow_angle), np.sin(shadow_angle)
    n = 28 if detail else 16
    parts = [Part(ellipse(0, 0, 0.5, n=n), shade(roof, 0.72), 8, height=rng.uniform(0.25, 0.6))]
    parts.append(Part(ellipse(-0.02 * dx, -0.02 * dy, 0.46, n=n), roof, 8))
    if rng.random() < 0.4:  # the roof floats low in the shell, whose shadow falls on it
        parts.append(Part(ellipse(0, 0, 0.43, n=n), shade(roof, 0.5), 8))
        parts.append(Part(ellipse(0.07 * dx, 0.07 * dy, 0.36, n=n), shade(pal.paint(), 0.95), 12))
    else:  # a shallow cone, lighter on the side that faces the sun
        parts.append(Part(ellipse(-0.1 * dx, -0.1 * dy, 0.32, n=n), shade(roof, 1.08), 8))
        parts.append(Part(ellipse(-0.14 * dx, -0.14 * dy, 0.16, n=12), shade(roof, 1.14), 8))
        parts.append(Part(ellipse(0, 0, 0.045, n=8), shade(roof, 0.6), 8))
    if detail:
        parts.append(Part(segment(0, 0, 0.24, 0.38, 0.025), shade(roof, 0.8), 8))
    return parts


def chimney(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """A tall chimney seen slightly from the side: round foot, tapering banded shaft, dark mouth."""
    u = rng.uniform
    shaft, band = (pal.paint() if rng.random() < 0.5 else pal.concrete), pal.paint()
    foot, top, lean = u(0.1, 0.14), u(0.055, 0.085), u(0.55, 0.9)
    parts = [Part(ellipse(0, 0, foot * 1.15), shade(pal.concrete, 0.85), 15, height=0.05)]
    bands = 7 if rng.random() < 0.6 else 1
    for i in range(bands):
        a, b = i / bands, (i + 1) / bands
        ra, rb = foot + (top - foot) * a, foot + (top - foot) * b
        colour = shaft if i % 2 == 0 else band
        lit, dark = shade(colour, 1.1), shade(colour, 0.7)
        x, y = lean * a, lean * b
        # Each band stands on the one before it, so that together they cast the shadow of the shaft.
        parts.append(
            Part(np.array([(x, -ra), (y, -rb), (y, rb), (x, ra)]), lit, 8, height=1.6 * (b - a), base_height=1.6 * a)
        )
        parts.append(Part(np.array([(x, 0.25 * ra), (y, 0.25 * rb), (y, rb), (x, ra)]), dark, 8))
    parts.append(Part(ellipse(lean, 0, top), shade(shaft, 1.15), 8, height=0.05, base_height=1.6))
    parts.append(Part(ellipse(lean, 0, top * 0.72), (28, 26, 26), 5))
    return parts


def windmill(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """A wind turbine seen obliquely: a mast and three blades at any angle, with their long shadows."""
    u = rng.uniform
    white = shade(pal.paint() if rng.random() < 0.25 else (240, 240, 240), u(0.8, 1.0))
    mast, blade, rotation, squeeze = u(0.35, 0.75), u(0.42, 0.5), u(0, 2 * np.pi), u(0.45, 1.0)
    wide = 0.05 if detail else 0.075
    parts = [Part(ellipse(0, 0, 0.17, n=14), shade(pal.pavement(), 1.1), 30, solid=False)]
    parts.append(
        Part(
            np.array([(0, -wide * 0.8), (mast, -wide * 0.4), (mast, wide * 0.4), (0, wide * 0.8)]), white, 4, height=1.1
        )
    )
    for k in range(3):
        t = rotation + k * 2 * np.pi / 3
        d = np.array([np.cos(t) * squeeze, np.sin(t)])
        n = np.array([-d[1], d[0]])
        hub = np.array([mast, 0.0])
        points = np.stack(
            [hub - 0.25 * wide * n, hub + 0.3 * blade * d - wide * n, hub + blade * d, hub + 0.25 * wide * n]
        )
        parts.append(Part(points, white, 4, height=0.02, base_height=1.1))
    parts.append(Part(ellipse(mast, 0, 0.05, n=10), shade(white, 0.8), 4))
    return parts


def dam(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """A straight or arched wall across a valley: the lake at +y, spillways and a narrow river on the other side."""
    u = rng.uniform
    wall, dry = mix(pal.concrete, pal.paint(), u(0, 0.4)), shade(pal.soil, u(0.8, 1.1))
    thick, bow = u(0.07, 0.14), u(0.0, 0.16)
    x = np.linspace(-0.5, 0.5, 20)
    line = np.stack([x, bow * (1 - 4 * x**2)], 1)
    far, channel = 6.0, u(0.12, 0.25)
    lake_x = np.array([-0.46, -0.5, -0.9, -1.2, -1.6])
    lake_y = np.array([0.0, 0.25, 0.5, 1.0, far])
    lake = np.concatenate([line, np.stack([-lake_x, lake_y], 1), np.stack([lake_x, lake_y], 1)[::-1]])
    river_y = np.linspace(0, -far, 24)
    river = np.stack([0.15 * np.sin(river_y * u(1.0, 2.0)) * np.minimum(1, -river_y), river_y], 1)
    parts = [
        Part(strip(river, channel * 1.9), dry, 70, solid=False),
        Part(lake * (1.05, 1), dry, 60, solid=False),
        Part(lake, pal.water, 16, solid=False, is_water=True),
        Part(strip(river, channel), shade(pal.water, 1.08), 20, solid=False, is_water=True),
        Part(np.array([(-0.42, 0), (0.42, 0), (0.28, -0.28), (-0.28, -0.28)]), shade(dry, 0.85), 60, solid=False),
    ]
    parts.append(Part(strip(line, thick), wall, 14))
    parts.append(Part(strip(line + np.array((0, thick * 0.3)), thick * 0.25), shade(wall, 1.18), 8))
    parts.append(Part(strip(line - np.array((0, thick * 0.36)), thick * 0.3), shade(wall, 0.66), 10))
    gates = int(rng.integers(4, 9))
    for i in range(gates):  # spillway gates with white water below
        gx = (i - (gates - 1) / 2) * 0.045
        gy = bow * (1 - 4 * gx**2)
        parts.append(Part(rect(gx, gy - thick * 0.2, 0.026, thick * 0.7), shade(wall, 0.55), 8))
        parts.append(
            Part(rect(gx, gy - thick * 0.5 - 0.05, 0.03, 0.1), mix(pal.water, (250, 250, 250), 0.6), 60, solid=False)
        )
    for side in (1, -1):  # abutments and the powerhouse
        parts.append(Part(rect(side * 0.47, 0.01, 0.09, thick * 1.5), shade(wall, 0.9), 14, height=0.04))
    parts.append(Part(rect(u(0.14, 0.26), -thick * 0.5 - 0.06, 0.14, 0.1), pal.roof(), 12, height=0.05))
    return parts


def harbor(rng: np.random.Generator, pal: Palette, fingers: int, reach: float) -> list[Part]:
    """A pier from the shore (at x = −0.5) into the water, with mooring fingers of length `reach` on both sides."""
    deck = mix(pal.concrete, pal.paint(), rng.uniform(0, 0.35))
    width = 0.05
    parts = [Part(rect(0, 0, 1, width), deck, 14, height=0.012)]
    if fingers:
        for x in np.linspace(-0.36, 0.48, fingers):
            for side in (1, -1):
                parts.append(
                    Part(rect(float(x), side * (width + reach) / 2, 0.022, reach), shade(deck, 0.95), 12, height=0.01)
                )
    parts.append(Part(rect(0, 0, 1, width * 0.25), shade(deck, 1.12), 10))
    if rng.random() < 0.6:  # a pier head across the end
        parts.append(Part(rect(0.5 - width / 2, 0, width, 2 * reach), deck, 14, height=0.012))
    if rng.random() < 0.5:
        parts.append(Part(rect(-0.42, 0.0, 0.07, width * 0.8), pal.roof(), 10, height=0.03))
    return parts
