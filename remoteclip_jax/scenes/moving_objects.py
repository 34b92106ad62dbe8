"""Airplanes, ships and vehicles. Each builder returns parts about one unit long that point towards +x."""

import numpy as np

from remoteclip_jax.scenes.palette import Palette, shade
from remoteclip_jax.scenes.shapes import Colour, Part, rect


def _mirrored(points: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    right = np.array(points)
    return right, right * (1, -1)


def airplane(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """An airliner with swept wings, a propeller plane with straight wings, or a jet with delta wings."""
    u = rng.uniform
    body = pal.paint()
    wing = shade(body, u(0.75, 1.0)) if rng.random() < 0.7 else pal.paint()
    kind = rng.choice(3, p=(0.65, 0.22, 0.13))
    thick = u(0.085, 0.12)
    if kind == 0:
        span, sweep, chord, root = u(0.42, 0.52), u(0.16, 0.3), u(0.15, 0.2), u(0.08, 0.16)
    elif kind == 1:
        span, sweep, chord, root = u(0.55, 0.68), u(-0.02, 0.04), u(0.13, 0.18), u(0.12, 0.2)
    else:
        span, sweep, chord, root = u(0.28, 0.36), u(0.42, 0.52), u(0.5, 0.6), u(0.12, 0.2)
    tip = chord * u(0.3, 0.5) if kind != 2 else 0.06
    parts = []
    for w in _mirrored([(root, 0.0), (root - sweep, span), (root - sweep - tip, span), (root - chord, 0.0)]):
        parts.append(Part(w, wing, 8, height=0.05, base_height=0.04))
    tail = u(0.16, 0.21)
    for w in _mirrored([(-0.34, 0.0), (-0.34 - 0.3 * sweep - 0.05, tail), (-0.48 - 0.08, tail), (-0.46, 0.0)]):
        parts.append(Part(w, wing, 8, height=0.03, base_height=0.05))
    h = thick / 2
    hull = [(0.5, 0.0), (0.47, 0.45 * h), (0.41, 0.85 * h), (0.32, h), (-0.2, h), (-0.4, 0.55 * h), (-0.5, 0.2 * h)]
    outline = np.array(hull + [(x, -y) for x, y in hull[::-1] if y > 0])
    parts.append(Part(outline, body, 8, height=0.1, base_height=0.0))
    if kind == 0:
        engine = shade(wing, 0.7)
        for at in (0.17,) if rng.random() < 0.6 else (0.15, 0.3):
            x = root - sweep * at / span + 0.03
            parts += [Part(rect(x, side * at, 0.1, 0.045), engine, 8, height=0.02) for side in (1, -1)]
    elif kind == 1:
        parts.append(Part(rect(0.5, 0, 0.02, 0.2), shade(body, 0.6), 8))
    parts.append(Part(rect(-0.43, 0, 0.13, 0.022), shade(pal.paint(), 0.9), 8))  # the vertical fin, seen from above
    parts.append(Part(rect(0.435, 0, 0.025, 0.6 * thick), (35, 38, 45), 8))  # cockpit windows
    return parts


def ship(rng: np.random.Generator, pal: Palette, moored: bool = False, detail: bool = True) -> list[Part]:
    """A boat, a yacht, a freighter or a container ship, sometimes with a wake; `detail` for large ones."""
    u = rng.uniform
    hull, deck = pal.paint(), pal.paint()
    half = u(0.11, 0.17) if rng.random() < 0.7 else u(0.075, 0.11)
    shoulder, stern = u(0.12, 0.3), u(0.6, 1.0)

    def outline(k: float) -> np.ndarray:
        right = [(0.5, 0), (0.5 - 0.35 * (0.5 - shoulder), 0.6), (shoulder, 1), (-0.38, 1), (-0.5, stern)]
        points = np.array(right + [(x, -y) for x, y in right[::-1] if y > 0])
        return points * (1 - 0.12 * (1 - k), half * k)

    parts: list[Part] = []
    if not moored and rng.random() < 0.45:
        foam = shade(pal.water, 1.45)
        spread, length = u(1.3, 3.0) * half, u(0.5, 2.2)
        parts.append(
            Part(
                np.array([(-0.4, -half), (-0.4, half), (-0.5 - length, spread), (-0.5 - length, -spread)]),
                foam,
                60,
                solid=False,
            )
        )
        inner = np.array(
            [
                (-0.5, -0.4 * half),
                (-0.5, 0.4 * half),
                (-0.5 - 0.7 * length, 0.3 * spread),
                (-0.5 - 0.7 * length, -0.3 * spread),
            ]
        )
        parts.append(Part(inner, shade(pal.water, 1.8), 80, solid=False))
    parts.append(Part(outline(1.0), hull, 8, height=u(0.05, 0.12)))
    parts.append(Part(outline(0.72), deck, 12))
    kind = rng.random()
    bridge = pal.paint() if rng.random() < 0.5 else (235, 235, 230)
    if kind < 0.45:  # the cabin of a yacht or fishing boat
        at = u(-0.2, 0.08)
        parts.append(Part(rect(at, 0, u(0.2, 0.4), half * u(0.9, 1.25)), bridge, 8, height=0.05, base_height=0.03))
        if detail:
            parts.append(Part(rect(at + 0.1, 0, 0.05, half * 0.9), (50, 58, 70), 8))
        return parts
    parts.append(Part(rect(-0.36, 0, u(0.08, 0.14), half * 1.6), bridge, 8, height=0.12, base_height=0.04))
    rows = int(rng.integers(3, 8))
    boxes = kind > 0.72 and detail
    for x in np.linspace(-0.22, 0.26, rows):
        if boxes:
            for y in (-0.5, 0.0, 0.5):
                parts.append(Part(rect(x, y * half, 0.42 / rows, half * 0.46), pal.paint(), 8, height=0.02))
        else:
            parts.append(Part(rect(x, 0, 0.34 / rows, half * 1.1), shade(deck, u(0.6, 1.3)), 8))
    return parts


def vehicle(rng: np.random.Generator, pal: Palette, detail: bool = True, cars_only: bool = False) -> list[Part]:
    """A car, a van, a bus, or a lorry with a trailer; with `cars_only`, a car in every case."""
    u = rng.uniform
    body = pal.paint()
    glass: Colour = (42, 46, 54)
    kind = 0.0 if cars_only else rng.random()
    if kind < 0.68:
        w = u(0.4, 0.47)
        hull = np.array([(0.5, 0.3 * w), (0.44, 0.5 * w), (-0.46, 0.5 * w), (-0.5, 0.4 * w)])
        parts = [Part(np.concatenate([hull, hull[::-1] * (1, -1)]), body, 5, height=0.26)]
        if detail:
            parts.append(Part(rect(-0.07, 0, 0.5, w * 0.84), glass, 5))
            parts.append(Part(rect(-0.09, 0, 0.3, w * 0.8), shade(body, 1.08), 5))
        else:
            parts.append(Part(rect(0.14, 0, 0.12, w * 0.8), glass, 5))
        return parts
    if kind < 0.82:  # a bus or a van
        w = u(0.26, 0.36)
        parts = [Part(rect(0, 0, 1, w), body, 5, height=0.25)]
        parts.append(Part(rect(0.46, 0, 0.05, w * 0.9), glass, 5))
        if detail:
            parts += [Part(rect(x, 0, 0.14, w * 0.5), shade(body, 0.8), 5) for x in (-0.22, 0.16)]
        return parts
    w = u(0.22, 0.3)
    return [
        Part(rect(0.4, 0, 0.2, w * 0.95), body, 5, height=0.25),
        Part(rect(0.31, 0, 0.06, w * 0.5), (30, 30, 30), 5),
        Part(rect(-0.12, 0, 0.76, w), pal.paint(), 5, height=0.32),
        Part(rect(0.47, 0, 0.04, w * 0.8), glass, 5),
    ]
