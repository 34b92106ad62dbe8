"""Vehicles: along the scene's roads, or in the bays of a car park."""

import numpy as np

from remoteclip_jax.scenes import vehicles as moving
from remoteclip_jax.scenes.deck import Group
from remoteclip_jax.scenes.layout import lattice
from remoteclip_jax.scenes.palette import mix
from remoteclip_jax.scenes.scene import LARGE, Scene, highway
from remoteclip_jax.scenes.shapes import Part, heading, place, rect, rotate, size_of


def vehicles(s: Scene, g: Group) -> None:
    """On the scene's road, on one of their own, or on a car park."""
    rng = s.rng
    crowded = any(name in ("dam", "trainstation", "harbor", "ship") for name, _ in s.objects)
    on_roads = bool(s.lanes) or (not crowded and rng.random() < 0.6)
    rest = _on_roads(s, g) if on_roads else g.count
    if rest:
        _car_park(s, Group(g.name, rest, g.size))


def _on_roads(s: Scene, g: Group) -> int:
    """Put vehicles on roads; returns how many found no room."""
    rng, length = s.rng, g.size / 0.78
    if not s.lanes:
        highway(s, length * rng.choice((2.0, 3.4)))
    spots = []
    for lane in s.lanes:
        across = max(2, int(lane.width / (0.8 * length)))
        direction = np.array([np.cos(lane.angle), np.sin(lane.angle)])
        normal = np.array([-direction[1], direction[0]])
        steps = np.arange(-1.4, 1.4, 1.6 * length)
        for k in range(across):
            offset = ((k + 0.5) / across - 0.5) * lane.width * 0.9
            for t in steps + rng.uniform(0, length):
                at = lane.centre + direction * t + normal * offset
                if abs(t) > lane.free and (np.abs(at - 0.5) < 0.49 - 0.5 * length).all():
                    spots.append((at, lane.angle + (np.pi if k < across / 2 else 0.0)))
    points = np.array([p for p, _ in spots]).reshape(-1, 2)
    order = [
        i
        for i in rng.permutation(len(spots))
        if s.lanes[0].free > 0 or len(s.objects) == 0 or not _covered(s, points[i])
    ]
    scales = None
    for i in order[: g.count]:
        parts = moving.vehicle(rng, s.pal, detail=g.size > LARGE)
        at, angle = spots[i]
        if scales is None:
            scales = g.size / size_of(moving.vehicle(rng, s.pal, cars=True), angle)
        s.put(g.name, parts, float(angle + rng.normal(0, 0.03)), scales * rng.uniform(0.93, 1.1), at)
    return max(0, g.count - len(order))


def _covered(s: Scene, point: np.ndarray) -> bool:
    # The deck of the bridge or overpass that the road belongs to is no obstacle; anything else is.
    return bool(s.map.at("taken", point[None])[0]) and s.objects[0][0] not in ("bridge", "overpass")


def _car_park(s: Scene, g: Group) -> None:
    """Rows of bays, some empty."""
    rng, angle = s.rng, heading(s.rng)
    made = [moving.vehicle(rng, s.pal, detail=g.size > LARGE, cars=True) for _ in range(g.count)]
    scale = g.size / float(np.median([size_of(p, angle) for p in made]))
    xy, w, h = lattice(rng, g.count, (1.5, 0.62), slack=rng.uniform(0.1, 0.8) if g.size < 0.06 else 0.0)
    c, d = abs(np.cos(angle)), abs(np.sin(angle))
    w, h = w + 0.3, h + 0.3
    centre = np.array(s.map.room(rng, (w * c + h * d) * scale, (w * d + h * c) * scale))
    yard = mix(s.pal.asphalt, s.pal.concrete, rng.random())
    line = mix(yard, s.pal.line, 0.7)
    parts = [Part(rect(0, 0, w, h), yard, 16, solid=False)]
    columns = np.arange(-(w - 0.3) / 2 + 0.75, w / 2, 1.5)
    for x in columns:
        for y in np.arange(-(h - 0.3) / 2, h / 2, 0.62):
            parts.append(Part(rect(float(x), float(y), 1.1, 0.05), line, 8, solid=False))
    s.scenery(place(parts, angle, scale, centre))
    flip = rng.random(len(xy)) < 0.5
    for at, vehicle, back in zip(xy, made, flip, strict=True):
        middle = centre + rotate(at[None], angle)[0] * scale
        s.put(
            g.name, vehicle, float(angle + np.pi * back + rng.normal(0, 0.02)), scale * rng.uniform(0.93, 1.07), middle
        )
