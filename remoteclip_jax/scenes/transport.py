"""Transport: roads, bridges, overpasses, toll stations, service areas, railway stations and airports.

The parts are about one unit long. The roads, rivers and tracks that lead to an object continue far beyond the image and
are scenery.
"""

import numpy as np

from remoteclip_jax.scenes.palette import Palette, mix, shade
from remoteclip_jax.scenes.shapes import Part, rect, segment, segment_between, strip

FAR = 40.0  # beyond the border of the image from any object in it, in object lengths
APRON_ROUGHNESS = 17  # a value that no other part has, by which the apron is found
SERVICE_DEPTH = 0.44
SERVICE_GAP = 0.16  # from the edge of a service area to the centre line of its expressway


def road(
    pal: Palette, line: np.ndarray, width: float, lanes: int = 2, solid: bool = False, dash: float = 0.0
) -> list[Part]:
    """A road along a polyline with verges, edge lines and a median; four lanes get dashes if `dash` is not 0."""
    parts = [] if solid else [Part(strip(line, width * 1.25), mix(pal.soil, pal.asphalt, 0.4), 60, solid=False)]
    parts.append(Part(strip(line, width), pal.asphalt, 18, solid=solid))
    if lanes < 2:
        return parts
    d = np.gradient(line, axis=0)
    normal = np.stack([-d[:, 1], d[:, 0]], 1) / np.hypot(d[:, 0], d[:, 1])[:, None]
    mark = mix(pal.asphalt, pal.line, 0.75)
    for side in (-0.46, 0.46):
        parts.append(Part(strip(line + normal * side * width, width * 0.025), mark, 8, solid=solid))
    middle = shade(pal.grass, 0.9) if lanes >= 4 and not solid else mark
    parts.append(Part(strip(line, width * (0.07 if lanes >= 4 else 0.03)), middle, 30, solid=solid))
    if dash and lanes >= 4:
        for side in (-0.25, 0.25):
            at = line + normal * side * width
            for i in range(0, len(at) - 1, 2):
                parts.append(Part(segment_between(at[i], at[i + 1], width * 0.02), mark, 8, solid=solid))
    return parts


def _straight(x1: float, x2: float, y: float = 0.0, n: int = 2) -> np.ndarray:
    return np.stack([np.linspace(x1, x2, n), np.full(n, y)], 1)


def bridge(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """A deck over a river; the road continues at both ends."""
    u = rng.uniform
    deck, width = mix(pal.concrete, pal.paint(), u(0, 0.5)), u(0.07, 0.24)
    lanes = 4 if width > 0.14 else 2
    drift, k = u(-0.4, 0.4), 44
    y = np.linspace(-1, 1, k)
    y = np.sign(y) * np.abs(y) ** 2 * FAR / 2
    course = np.stack([drift * np.tanh(y / 2) + 0.12 * np.sin(y * u(1, 2.2)) * np.minimum(np.abs(y), 1), y], 1)
    breadth = u(0.78, 0.9) * (1 + 0.1 * np.sin(y * 1.7) * np.minimum(np.abs(y), 1))
    parts = [
        Part(strip(course, breadth * 1.12), mix(pal.sand, pal.soil, u(0, 1)), 70, solid=False),
        Part(strip(course, breadth), pal.water, 16, solid=False, is_water=True),
    ]
    parts += road(pal, _straight(-FAR, FAR), width * 0.92, lanes)
    piers = int(rng.integers(2, 6))
    for x in np.linspace(-0.36, 0.36, piers):
        parts.append(Part(rect(float(x), 0, 0.025, width * 1.18), shade(deck, 0.7), 10))
    parts.append(Part(rect(0, 0, 1, width), deck, 12, height=u(0.04, 0.1), base_height=0.03))
    parts.append(Part(rect(0, 0, 1, width * 0.8), mix(pal.asphalt, deck, u(0, 0.4)), 12))
    for side in (0.44, -0.44):
        parts.append(Part(rect(0, side * width, 1, width * 0.06), shade(deck, 1.2), 8))
    parts.append(Part(rect(0, 0, 1, width * 0.04), mix(pal.asphalt, pal.line, 0.8), 8))
    if detail and rng.random() < 0.35:  # the struts of a truss above the deck
        for x in np.linspace(-0.45, 0.45, 14):
            parts.append(Part(rect(float(x), 0, 0.012, width), shade(deck, 0.85), 8))
    return parts


def overpass(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """One road over another: the object is the deck with its parapets."""
    u = rng.uniform
    width, below, tilt = u(0.16, 0.34), u(0.28, 0.5), np.pi / 2 + u(-0.5, 0.5)
    direction = np.array([np.cos(tilt), np.sin(tilt)])
    under = np.linspace(-FAR, FAR, 160)[:, None] * direction
    parts = road(pal, under, below, 4 if below > 0.36 else 2)
    parts += road(pal, _straight(-FAR, FAR, n=160), width * 0.92, 4 if width > 0.24 else 2)
    bank = mix(pal.grass, pal.soil, 0.5)
    parts.append(
        Part(
            np.array([(-1.3, -0.5 * width), (-0.4, -0.75 * width), (-0.4, 0.75 * width), (-1.3, 0.5 * width)]),
            bank,
            70,
            solid=False,
        )
    )
    parts.append(
        Part(
            np.array([(1.3, -0.5 * width), (0.4, -0.75 * width), (0.4, 0.75 * width), (1.3, 0.5 * width)]),
            bank,
            70,
            solid=False,
        )
    )
    parts += [p._replace(points=p.points) for p in road(pal, _straight(-1.4, 1.4, n=6), width * 0.92, 2)[1:]]
    parts += road(pal, under[70:90], below * 0.98, 4 if below > 0.36 else 2)[1:]
    deck = mix(pal.concrete, pal.asphalt, u(0, 1))
    parts.append(Part(rect(0, 0, 1, width), shade(deck, 1.12), 10, height=u(0.06, 0.12), base_height=0.03))
    parts.append(Part(rect(0, 0, 1, width * 0.88), mix(pal.asphalt, deck, u(0, 0.6)), 14))
    parts.append(Part(rect(0, 0, 1, width * 0.05), mix(pal.asphalt, pal.line, 0.8), 8))
    if detail:
        for side in (0.24, -0.24):
            for x in np.arange(-0.46, 0.48, 0.11):
                parts.append(Part(rect(float(x), side * width, 0.05, width * 0.03), mix(pal.asphalt, pal.line, 0.8), 8))
    return parts


def toll_station(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """A canopy with its traffic islands across a road that widens to many lanes. The road runs along y."""
    u = rng.uniform
    roof, deep, lanes = pal.roof(), u(0.14, 0.3), int(rng.integers(6, 11))
    narrow, flare = u(0.3, 0.42), u(0.9, 1.6)
    parts = [p._replace(points=p.points[:, ::-1]) for p in road(pal, _straight(-FAR, FAR), narrow, 4)]
    plaza = [(0.5, 0.22), (narrow / 2, flare), (-narrow / 2, flare), (-0.5, 0.22)]
    plate = np.array(plaza + [(x, -y) for x, y in plaza[::-1]])
    parts.append(Part(plate * (1.03, 1.0), mix(pal.soil, pal.asphalt, 0.5), 50, solid=False))
    parts.append(Part(plate, mix(pal.asphalt, pal.concrete, u(0, 1)), 16, solid=False))
    islands = np.linspace(-0.46, 0.46, lanes)
    length = deep + u(0.16, 0.3)
    for x in islands:
        parts.append(Part(rect(float(x), 0, 0.018, length), shade(pal.concrete, 1.15), 8))
        parts += [
            Part(segment(x, side * 0.3, x * 0.72, side * 0.7, 0.008), mix(pal.asphalt, pal.line, 0.7), 8, solid=False)
            for side in (1, -1)
        ]
    parts.append(Part(rect(0, 0, 1, deep), roof, 10, height=0.09, base_height=0.05))
    parts.append(Part(rect(0, 0, 1, deep * 0.3), shade(roof, 1.15), 10))
    parts += [Part(rect(float(x), 0, 0.008, deep), shade(roof, 0.8), 8) for x in islands]
    if rng.random() < 0.5:
        parts.append(Part(rect(0.62, u(-0.2, 0.2), 0.12, 0.22), pal.roof(), 12, height=0.06, solid=False))
    return parts


def service_area(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """An area beside an expressway: ramps, rows of parking bays, a shop and the canopy of a filling station."""
    u = rng.uniform
    depth = SERVICE_DEPTH
    yard, line = mix(pal.asphalt, pal.concrete, u(0, 1)), pal.line
    high = np.linspace(-FAR, FAR, 160)
    way = depth / 2 + SERVICE_GAP
    parts = road(pal, np.stack([high, np.full(160, way)], 1), u(0.13, 0.18), 4)
    for side in (1, -1):
        parts.append(Part(segment(side * 0.4, depth * 0.35, side * 0.85, way, 0.05), pal.asphalt, 18, solid=False))
    plate = np.array([(-0.5, 0.5 * depth), (-0.4, -0.5 * depth), (0.4, -0.5 * depth), (0.5, 0.5 * depth)])
    parts.append(Part(plate, yard, 18))
    parts.append(Part(plate * (0.97, 0.94), shade(yard, 0.95), 18))
    for row in (-0.2, 0.12):
        for x in np.linspace(-0.32, 0.02, 15):
            parts.append(Part(rect(float(x), row * depth, 0.005, 0.16 * depth), mix(yard, line, 0.7), 8))
    for x in np.linspace(0.08, 0.34, 7):
        parts.append(Part(segment(x, -0.36 * depth, x + 0.03, -0.1 * depth, 0.006), mix(yard, line, 0.7), 8))
    for x in (-0.26, -0.02):
        parts.append(Part(rect(x, -0.04 * depth, 0.2, 0.06 * depth), pal.grass, 80))
    parts.append(Part(rect(-0.1, -0.4 * depth, u(0.22, 0.36), 0.15 * depth), pal.roof(), 14, height=0.05))
    canopy = pal.roof()
    parts.append(Part(rect(0.26, 0.22 * depth, 0.2, 0.22 * depth), canopy, 10, height=0.035, base_height=0.03))
    parts.append(Part(rect(0.26, 0.22 * depth, 0.17, 0.05 * depth), shade(canopy, 0.8), 10))
    return parts


def trainstation(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """Long platform roofs between tracks, and a hall beside them; the tracks continue at both ends."""
    u = rng.uniform
    platforms = int(rng.integers(2, 5))
    pitch = u(0.075, 0.1)
    breadth = pitch * platforms
    ballast, rail = mix(pal.soil, pal.asphalt, u(0.2, 0.9)), shade(pal.asphalt, 0.55)
    parts = [
        Part(rect(0, 0, 2 * FAR, breadth + 0.05), ballast, 80, solid=False),
        Part(rect(0, 0, 1, breadth), ballast, 60),
    ]
    tracks = 2 * platforms
    for i in range(tracks):
        y = (i - (tracks - 1) / 2) * breadth / tracks
        for side in (0.2, -0.2):
            parts.append(Part(rect(0, y + side * breadth / tracks, 2 * FAR, 0.0045), rail, 10, solid=False))
        if rng.random() < 0.35:
            length, paint = u(0.3, 0.7), pal.paint()
            at = u(-0.3, 0.3)
            cars = 6
            for k in range(cars):
                x = at + (k - 2.5) * length / cars
                parts.append(
                    Part(rect(x, y, length / cars * 0.93, breadth / tracks * 0.55), paint, 8, height=0.02, solid=False)
                )
    roof = pal.roof()
    for i in range(platforms):
        y = (i - (platforms - 1) / 2) * pitch
        colour = roof if rng.random() < 0.7 else pal.roof()
        length, at = u(0.65, 0.95), u(-0.02, 0.02)
        parts.append(Part(rect(0, y, 1, pitch * 0.36), pal.concrete, 12))
        parts.append(Part(rect(at, y, length, pitch * 0.44), colour, 10, height=0.03, base_height=0.02))
        parts.append(Part(rect(at, y, length, pitch * 0.1), shade(colour, 1.18), 10))
    side, hall = breadth / 2, pal.roof()
    deep = u(0.08, 0.15)
    parts.append(Part(rect(u(-0.1, 0.1), side + deep / 2 + 0.012, u(0.3, 0.6), deep), hall, 14, height=0.06))
    parts.append(
        Part(rect(0, side + deep / 2 + 0.012, 0.2, deep * 0.6), shade(hall, 1.15), 14, height=0.03, base_height=0.06)
    )
    if rng.random() < 0.4:  # a footbridge across
        parts.append(
            Part(
                rect(u(-0.3, 0.3), 0, 0.03, breadth * 1.05),
                shade(pal.concrete, 0.95),
                10,
                height=0.03,
                base_height=0.04,
            )
        )
    return parts


def airport(rng: np.random.Generator, pal: Palette, detail: bool = True) -> list[Part]:
    """A runway with threshold bars and markings, a parallel taxiway, exits, an apron, and a terminal with piers."""
    u = rng.uniform
    runway, apron = shade(pal.asphalt, u(0.75, 1.05)), mix(pal.concrete, pal.asphalt, u(0, 0.5))
    white = mix(runway, (250, 250, 245), 0.85)
    y, taxi = -0.13, 0.0
    parts = [Part(rect(0, 0.02, 1.06, 0.52), mix(pal.grass, pal.soil, u(0, 1)), 70, solid=False)]
    parts.append(Part(rect(0, y, 1, 0.055), runway, 14))
    parts.append(Part(rect(0, y, 0.9, 0.003), white, 8))
    for side in (1, -1):
        for k in range(-3, 4):
            parts.append(Part(rect(side * 0.475, y + k * 0.0065, 0.03, 0.0035), white, 8))
        parts += [Part(rect(side * 0.4, y + k * 0.012, 0.03, 0.006), white, 8) for k in (1, -1)]
    yellow = mix(apron, (230, 190, 60), 0.7)
    parts.append(Part(rect(0, taxi, 0.94, 0.024), apron, 14))
    parts.append(Part(rect(0, taxi, 0.94, 0.0025), yellow, 8))
    for x in (-0.458, -0.2, 0.06, 0.3, 0.458):
        lean = 0.0 if abs(x) > 0.4 else u(-0.08, 0.08)
        parts.append(Part(segment(x, y, x + lean, taxi, 0.022), apron, 14))
    left, right = u(-0.4, -0.25), u(0.2, 0.4)
    middle, width = (left + right) / 2, right - left
    parts.append(Part(rect(middle, 0.105, width, 0.19), apron, APRON_ROUGHNESS))
    roof = pal.roof()
    parts.append(Part(rect(middle, 0.2, width * 0.7, 0.045), roof, 12, height=0.02))
    parts.append(Part(rect(middle, 0.2, width * 0.62, 0.015), shade(roof, 1.15), 12))
    for k in (-1, 0, 1):
        x = middle + k * width * 0.24
        parts.append(Part(rect(x, 0.155, 0.02, 0.06), roof, 12, height=0.015))
    for side in (1, -1):
        parts.append(Part(rect(middle + side * width * 0.43, 0.19, 0.055, 0.04), pal.roof(), 12, height=0.02))
    return parts
