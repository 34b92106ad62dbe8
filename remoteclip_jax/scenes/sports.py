"""Sports grounds: courts, tracks, diamonds, golf courses and stadiums. About one unit long, long side along x."""

import numpy as np

from remoteclip_jax.scenes.palette import Palette, mix, shade
from remoteclip_jax.scenes.shapes import Part, arc, blob, ellipse, oval, rect, segment, segment_between, strip


def _rectangle_outline(
    w: float, h: float, colour: tuple[int, int, int], width: float, cx: float = 0, cy: float = 0
) -> list[Part]:
    x, y = w / 2, h / 2
    return [
        Part(segment(cx + a, cy + b, cx + c, cy + d, width), colour, 10)
        for a, b, c, d in ((-x, -y, x, -y), (x, -y, x, y), (x, y, -x, y), (-x, y, -x, -y))
    ]


def tenniscourt(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """A court of 23.8 x 11 m on a ground of 36 x 18 m: singles lines, service boxes and net."""
    outer, inner = pal.court
    white, line = shade((245, 245, 240), rng.uniform(0.85, 1)), 0.008 if detail else 0.016
    parts = [Part(rect(0, 0, 1, 0.5), outer, 16), Part(rect(0, 0, 0.66, 0.305), inner, 12)]
    parts += _rectangle_outline(0.66, 0.305, white, line)
    if detail:
        parts += [Part(rect(0, y, 0.66, line), white, 8) for y in (-0.114, 0.114)]
        parts += [Part(rect(x, 0, line, 0.228), white, 8) for x in (-0.178, 0.178)]
        parts.append(Part(rect(0, 0, 0.356, line), white, 8))
    parts.append(Part(rect(0, 0, 0.012, 0.35), shade(outer, 0.45), 8, height=0.03))
    return parts


def basketballcourt(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """A court of 28 x 15 m: keys, centre circle, three-point arcs and both baskets."""
    outer, inner = pal.court
    key, white = (pal.paint() if rng.random() < 0.6 else outer), shade((245, 245, 240), rng.uniform(0.85, 1))
    line = 0.009
    parts = [Part(rect(0, 0, 1, 0.57), outer, 16), Part(rect(0, 0, 0.9, 0.48), inner, 12)]
    parts.append(Part(ellipse(0, 0, 0.06), key, 10))
    parts.append(Part(strip(arc(0, 0, 0.06, 0, 2 * np.pi, 20), line), white, 8))
    for side in (1, -1):
        parts.append(Part(rect(side * 0.355, 0, 0.19, 0.16), key, 10))
        parts += _rectangle_outline(0.19, 0.16, white, line, side * 0.355)
        start = 0.5 * np.pi if side > 0 else -0.5 * np.pi
        parts.append(Part(strip(arc(side * 0.4, 0, 0.21, start, start + np.pi, 14), line), white, 8))
        parts.append(Part(strip(arc(side * 0.26, 0, 0.055, start, start + np.pi, 8), line), white, 8))
        parts.append(Part(rect(side * 0.425, 0, 0.012, 0.06), (60, 60, 60), 8, height=0.09))
    parts += _rectangle_outline(0.9, 0.48, white, line)
    parts.append(Part(rect(0, 0, line, 0.48), white, 8))
    return parts


def groundtrackfield(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """An oval running track with lanes around a pitch."""
    track = pal.paint() if rng.random() < 0.55 else pal.soil
    turf = pal.turf() if rng.random() < 0.8 else pal.pavement()
    radius, lanes = rng.uniform(0.24, 0.29), rng.uniform(0.045, 0.065)
    line = mix(track, (255, 255, 255), 0.6)
    parts = [Part(oval(0.5, radius), track, 14)]
    if detail:
        for k in (0.25, 0.5, 0.75):
            parts.append(Part(oval(0.5 - lanes * k, radius - lanes * k), line, 10))
            parts.append(Part(oval(0.5 - lanes * k - 0.004, radius - lanes * k - 0.004), track, 14))
    parts.append(Part(oval(0.5 - lanes, radius - lanes), turf if rng.random() < 0.6 else track, 40))
    w, h = 1 - 2 * radius, 1.55 * (radius - lanes)
    if detail and rng.random() < 0.7:  # a lawn mown in stripes
        n = 8
        for i in range(n):
            parts.append(Part(rect(-w / 2 + w * (i + 0.5) / n, 0, w / n, h), shade(turf, 1.08 if i % 2 else 0.94), 40))
    else:
        parts.append(Part(rect(0, 0, w, h), turf, 40))
    white = mix(turf, (255, 255, 255), 0.75)
    if detail:
        parts += _rectangle_outline(w * 0.96, h * 0.94, white, 0.005)
        parts.append(Part(rect(0, 0, 0.005, h * 0.94), white, 8))
        parts.append(Part(strip(arc(0, 0, 0.05, 0, 2 * np.pi, 20), 0.005), white, 8))
        for side in (1, -1):
            parts += _rectangle_outline(0.09, h * 0.5, white, 0.005, side * (w * 0.48 - 0.045))
    return parts


def baseballfield(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """A quarter circle: grass outfield, dirt infield, and the diamond with its bases and mound."""
    turf = pal.turf()
    dirt = mix(pal.soil, pal.paint(), rng.uniform(0, 0.5))
    track = dirt if rng.random() < 0.5 else turf
    half = np.pi / 4
    home = np.array([[-0.5, 0.0]])

    def sector(r: float, spread: float, x: float = -0.5) -> np.ndarray:
        return np.concatenate([home + np.array((x + 0.5, 0)), arc(x, 0, r, -spread, spread, 20)])

    parts = [Part(sector(1.0, half + 0.06, -0.5), track, 35), Part(sector(0.94, half, -0.47), turf, 45)]
    r = rng.uniform(0.42, 0.52)
    parts.append(Part(sector(r, half + 0.04, -0.48), dirt, 30))
    base = r * 0.56
    inner = rect(-0.46 + base * 0.707, 0, base * 0.86, base * 0.86, half)
    parts.append(Part(inner, turf if rng.random() < 0.75 else shade(dirt, 1.12), 45))
    parts.append(Part(ellipse(-0.45, 0, 0.055, n=14), dirt, 25))
    parts.append(Part(ellipse(-0.46 + base * 0.707, 0, 0.035, n=12), dirt, 25))
    white = (238, 236, 228)
    for side in (1, -1):
        end = (-0.46 + 0.93 * np.cos(half), side * 0.93 * np.sin(half))
        parts.append(Part(segment(-0.46, 0, *end, 0.007), white, 8))
        parts.append(Part(rect(-0.46 + base * 0.65, side * base * 0.65, 0.022, 0.022, half), white, 8))
    parts.append(Part(rect(-0.46 + base * 1.3, 0, 0.022, 0.022, half), white, 8))
    return parts


def golffield(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """A golf course: winding fairways in the rough, greens, sand bunkers, a pond and trees."""
    u = rng.uniform
    rough, fairway = pal.turf(), pal.turf()
    green, sand = shade(fairway, u(1.12, 1.3)), mix(pal.sand, (240, 235, 215), u(0.2, 0.9))
    parts = [Part(blob(rng, 0, 0, 0.5, u(0.3, 0.42), 0.14, 40), rough, 70)]
    holes = 3
    for i in range(holes):
        y = (i - 1) * 0.19 + u(-0.02, 0.02)
        reach = 0.42 - 0.12 * (i != 1)
        x = np.linspace(-reach + u(0, 0.08), reach - u(0.02, 0.1), 12)
        bend = y + 0.035 * np.sin(x * u(5, 9) + u(0, 6))
        parts.append(
            Part(
                strip(np.stack([x, bend], 1), u(0.06, 0.09) * (0.7 + 0.3 * np.sin(np.linspace(0.3, 2.8, 12)))),
                fairway,
                40,
            )
        )
        end = -1 if rng.random() < 0.5 else 0
        gx, gy = x[end], bend[end]
        parts.append(Part(blob(rng, gx, gy, 0.05, 0.042, 0.15, 16), green, 20))
        for _ in range(4):
            t = u(0, 2 * np.pi)
            parts.append(
                Part(
                    blob(rng, gx + 0.068 * np.cos(t), gy + 0.058 * np.sin(t), u(0.014, 0.026), 0.016, 0.4, 12), sand, 15
                )
            )
        k = int(rng.integers(3, 9))
        parts.append(Part(blob(rng, x[k], bend[k] + 0.05, 0.028, 0.014, 0.4, 12), sand, 15))
    if rng.random() < 0.7:
        parts.append(Part(blob(rng, u(-0.2, 0.2), u(0.06, 0.12), 0.07, 0.03, 0.3, 20), pal.water, 14))
    dark = shade(pal.tree, 0.9)
    for _ in range(45):
        x0, lane = u(-0.36, 0.36), rng.choice((-0.1, 0.1, 0.25, -0.25)) + u(-0.018, 0.018)
        if abs(lane) < 0.25 * np.sqrt(max(0.0, 1 - (x0 / 0.4) ** 2)) + 0.02:
            r = u(0.007, 0.014)
            parts.append(Part(ellipse(x0, lane, r, n=8), shade(dark, u(0.8, 1.2)), 110, height=1.2 * r))
    return parts


def stadium(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """A bowl: a ring of stands, partly roofed, around a pitch."""
    u = rng.uniform
    roof, seats, turf = pal.roof(), pal.paint(), pal.turf()
    ry, power = u(0.36, 0.46), u(2.0, 3.4)
    t = np.arange(56) * (2 * np.pi / 56)
    curve = np.stack(
        [np.sign(np.cos(t)) * np.abs(np.cos(t)) ** (2 / power), np.sign(np.sin(t)) * np.abs(np.sin(t)) ** (2 / power)],
        1,
    )

    def ring(k: float) -> np.ndarray:
        return curve * (0.5 - k, ry - k)

    outer, inner = u(0.015, 0.04), u(0.11, 0.15)
    parts = [Part(ring(0), shade(roof, 0.75), 15, height=0.06), Part(ring(outer), roof, 15)]
    edge = u(0.05, 0.09)
    parts.append(Part(ring(edge), shade(seats, 0.55), 15))  # the shadow of the roof on the upper tier
    parts.append(Part(ring(edge + 0.012), seats, 22))
    parts.append(Part(ring((edge + inner) / 2 + 0.006), shade(seats, 1.15), 22))
    step = 2 if detail else 4
    for i in range(0, 56, step):  # aisles and roof girders
        a, b, c = ring(outer)[i], ring(edge)[i], ring(inner)[i]
        parts.append(Part(segment_between(a, b, 0.004), shade(roof, 0.8), 10))
        parts.append(Part(segment_between(b, c, 0.005), shade(seats, 0.6), 10))
    surround = pal.paint() if rng.random() < 0.5 else pal.pavement()
    parts.append(Part(ring(inner), surround, 15))
    w, h = 2 * (0.5 - inner) * 0.72, 2 * (ry - inner) * 0.72
    for i in range(8):
        parts.append(Part(rect(-w / 2 + w * (i + 0.5) / 8, 0, w / 8, h), shade(turf, 1.07 if i % 2 else 0.95), 30))
    white = mix(turf, (255, 255, 255), 0.7)
    parts += _rectangle_outline(w * 0.94, h * 0.92, white, 0.006)
    parts.append(Part(rect(0, 0, 0.006, h * 0.92), white, 8))
    parts.append(Part(strip(arc(0, 0, 0.045, 0, 2 * np.pi, 18), 0.005), white, 8))
    if rng.random() < 0.35:  # two long stands with their own roofs
        for side in (1, -1):
            parts.append(Part(rect(0, side * (ry - 0.05), 0.55, 0.1), shade(roof, 1.1), 12, height=0.04))
    return parts
