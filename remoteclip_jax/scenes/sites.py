"""How each class stands in its scene: alone on a plot, in rows, across a road or river."""

from collections.abc import Callable

import numpy as np

from remoteclip_jax.scenes import industry, sports, traffic
from remoteclip_jax.scenes import vehicles as moving
from remoteclip_jax.scenes.deck import Group, Recipe
from remoteclip_jax.scenes.layout import lattice
from remoteclip_jax.scenes.moorings import afloat, harbors
from remoteclip_jax.scenes.palette import shade
from remoteclip_jax.scenes.scene import LARGE, Lane, Scene
from remoteclip_jax.scenes.shapes import Part, heading, rect, rotate, size_of, spans

Builder = Callable[..., list[Part]]


def _settle(s: Scene, parts: list[Part], angle: float, size: float, cut: float) -> tuple[float, np.ndarray]:
    """The scale that gives the object its size, and a place for it; `cut` is the chance to reach over the border."""
    margin = 1.06
    scale = size / size_of(parts, angle)
    x1, y1, x2, y2 = (v * scale for v in spans(parts, angle))
    longest = 0.97 / max(x2 - x1, y2 - y1)
    if longest < 1:  # a long object in a large size: it has to fit in
        scale, x1, y1, x2, y2 = scale * longest, x1 * longest, y1 * longest, x2 * longest, y2 * longest
    beyond = float(s.rng.uniform(0.05, 0.3)) if s.rng.random() < cut else 0.0
    room = s.map.room(s.rng, (x2 - x1) * margin, (y2 - y1) * margin, beyond=beyond)
    return scale, np.array(room) - ((x1 + x2) / 2, (y1 + y2) / 2)


def _plot(s: Scene, angle: float, w: float, h: float, centre: np.ndarray, chance: float = 0.7) -> None:
    """A surface laid out under a site."""
    if s.rng.random() < chance:
        colour = s.pal.ground() if s.rng.random() < 0.6 else s.pal.turf()
        s.scenery(
            [
                Part(
                    rect(centre[0], centre[1], w, h, angle),
                    shade(colour, s.rng.uniform(0.85, 1.1)),
                    int(s.rng.integers(15, 60)),
                    solid=False,
                )
            ]
        )


def alone(builder: Builder, plot: float = 1.15) -> Callable[[Scene, Group, Recipe], None]:
    """A site for each object by itself, anywhere; `plot` is its plot's size relative to the object."""

    def site(s: Scene, g: Group, recipe: Recipe) -> None:
        for _ in range(g.count):
            parts = builder(s.rng, s.pal, detail=g.size > LARGE)
            angle = 0.0 if builder is industry.storagetank else float(s.rng.uniform(0, 2 * np.pi))
            scale, centre = _settle(s, parts, angle, g.size * s.rng.uniform(0.94, 1.06), 0.2 if g.count == 1 else 0.0)
            if plot:
                x1, y1, x2, y2 = spans(parts, 0.0)
                middle = centre + rotate(np.array([[(x1 + x2) / 2, (y1 + y2) / 2]]), angle)[0] * scale
                _plot(s, angle, (x2 - x1) * scale * plot, (y2 - y1) * scale * plot, middle)
            s.put(g.name, parts, angle, scale, centre)

    return site


def rows(builder: Builder, pitch: tuple[float, float], loose: float = 0.0) -> Callable[[Scene, Group, Recipe], None]:
    """A site with the objects side by side; the pitch is in lengths of one of them, `loose` the chance to scatter."""

    def site(s: Scene, g: Group, recipe: Recipe) -> None:
        if g.count == 1 or s.rng.random() < loose:
            alone(builder, 1.2 if g.count == 1 else 0.0)(s, g, recipe)
            return
        rng, angle, detail = s.rng, heading(s.rng), g.size > LARGE
        made = [builder(rng, s.pal, detail=detail) for _ in range(g.count)]
        scale = g.size / float(np.median([size_of(p, angle) for p in made]))
        spread = rng.uniform(1.0, 1.25)
        xy, w, h = lattice(rng, g.count, (pitch[0] * spread, pitch[1] * spread))
        w, h = w * scale, h * scale
        if max(w, h) > 0.95:
            scale, w, h = scale * 0.95 / max(w, h), w * 0.95 / max(w, h), h * 0.95 / max(w, h)
        c, d = abs(np.cos(angle)), abs(np.sin(angle))
        centre = np.array(s.map.room(rng, w * c + h * d, w * d + h * c))
        _plot(s, angle, w * 1.04, h * 1.04, centre, 0.85)
        backward = builder is moving.airplane and rng.random() < 0.5
        for at, parts in zip(xy, made, strict=True):
            middle = centre + rotate(at[None], angle)[0] * scale
            facing = (
                angle
                + (np.pi if backward and at[1] > 0 else 0)
                + (rng.normal(0, 0.03) if builder is moving.airplane else 0)
            )
            if builder is industry.storagetank:  # round, and lit by the sun, which does not turn along
                s.put(g.name, parts, 0.0, scale * rng.uniform(0.92, 1.08), middle)
            else:
                s.put(g.name, parts, facing, scale, middle)

    return site


def airplanes(s: Scene, g: Group, recipe: Recipe) -> None:
    """On an airport's stands where there is one, else on an apron, or dispersed."""
    if not s.slots:
        rows(moving.airplane, (1.15, 1.25), loose=0.25)(s, g, recipe)
        return
    for i in s.rng.permutation(len(s.slots))[: g.count]:
        centre, angle, room = s.slots[i]
        parts = moving.airplane(s.rng, s.pal)
        s.put(g.name, parts, angle, min(g.size / size_of(parts, angle), room), centre)


def airports(s: Scene, g: Group, recipe: Recipe) -> None:
    """One, over most of the image, with stands for airplanes before its terminal."""
    parts = traffic.airport(s.rng, s.pal)
    angle = float(s.rng.uniform(0, 2 * np.pi))
    scale, centre = _settle(s, parts, angle, g.size, 0.2)
    s.put(g.name, parts, angle, scale, centre)
    apron = next(p for p in parts if p.rough == traffic.APRON)
    (x1, y1), (x2, _) = apron.points.min(0), apron.points.max(0)
    for x in np.linspace(x1 + 0.04, x2 - 0.04, 6):
        for y, facing in ((y1 + 0.075, np.pi / 2), (y1 + 0.03, 0.0)):
            at = centre + rotate(np.array([[x, y]]), angle)[0] * scale
            s.slots.append((at, angle + facing, (x2 - x1 - 0.08) / 5 * 0.9 * scale))


def long(builder: Builder, lane: tuple[float, float, float, float] | None) -> Callable[[Scene, Group, Recipe], None]:
    """An object on a line through the image. `lane`: its road as (turn, across, width, stretch kept free)."""

    def site(s: Scene, g: Group, recipe: Recipe) -> None:
        parts = builder(s.rng, s.pal)
        angle = float(s.rng.uniform(0, 2 * np.pi))
        scale, centre = _settle(s, parts, angle, g.size, 0.15 if g.count == 1 else 0.0)
        if g.count == 2:  # the other one lies across the same road
            shift = (traffic.SERVICE_DEPTH / 2 + traffic.SERVICE_GAP) * scale
            normal = np.array([-np.sin(angle), np.cos(angle)])
            centre = 0.5 - normal * shift + s.rng.uniform(-0.05, 0.05, 2)
            other = [p for p in builder(s.rng, s.pal) if np.abs(p.points).max() < 2]
            s.put(g.name, parts, angle, scale, centre)
            s.put(g.name, other, angle + np.pi, scale, centre + 2 * normal * shift)
        else:
            s.put(g.name, parts, angle, scale, centre)
        if lane:
            turn, across, width, free = lane
            middle = centre + rotate(np.array([[0.0, across]]), angle)[0] * scale
            s.lanes.append(Lane(middle, angle + turn, width * scale, free * scale))

    return site


SITES: dict[str, Callable[[Scene, Group, Recipe], None]] = {
    "airplane": airplanes,
    "airport": airports,
    "baseballfield": alone(sports.baseballfield, 1.2),
    "basketballcourt": rows(sports.basketballcourt, (1.15, 0.68), loose=0.2),
    "bridge": long(traffic.bridge, (0.0, 0.0, 0.12, 0.0)),
    "chimney": alone(industry.chimney, 1.3),
    "dam": long(industry.dam, None),
    "Expressway-Service-area": long(
        traffic.servicearea, (0.0, traffic.SERVICE_DEPTH / 2 + traffic.SERVICE_GAP, 0.15, 0.0)
    ),
    "Expressway-toll-station": long(traffic.tollstation, (np.pi / 2, 0.0, 0.36, 0.3)),
    "golffield": alone(sports.golffield, 0.0),
    "groundtrackfield": alone(sports.groundtrackfield, 1.15),
    "harbor": harbors,
    "overpass": long(traffic.overpass, (0.0, 0.0, 0.22, 0.0)),
    "ship": afloat,
    "stadium": alone(sports.stadium, 1.2),
    "storagetank": rows(industry.storagetank, (1.45, 1.45), loose=0.1),
    "tenniscourt": rows(sports.tenniscourt, (1.06, 0.54), loose=0.05),
    "trainstation": long(traffic.trainstation, None),
    "windmill": alone(industry.windmill, 0.0),
}
