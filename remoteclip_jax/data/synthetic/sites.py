"""How each class stands in its scene: alone on a plot, in rows, at a pier, along a road."""

from collections.abc import Callable

import numpy as np

from remoteclip_jax.data.synthetic import industry, sports, traffic
from remoteclip_jax.data.synthetic import vehicles as moving
from remoteclip_jax.data.synthetic.deck import Group, Recipe
from remoteclip_jax.data.synthetic.layout import lattice
from remoteclip_jax.data.synthetic.palette import mix, shade
from remoteclip_jax.data.synthetic.scene import Lane, Scene, highway
from remoteclip_jax.data.synthetic.shapes import Part, place, rect, rotate, size_of

Builder = Callable[..., list[Part]]
LARGE = 0.045  # from this size on an object gets its fine details


def _spans(parts: list[Part], angle: float) -> tuple[float, float, float, float]:
    points = rotate(np.concatenate([p.points for p in parts if p.solid]), angle)
    (x1, y1), (x2, y2) = points.min(0), points.max(0)
    return float(x1), float(y1), float(x2), float(y2)


def _settle(s: Scene, parts: list[Part], angle: float, size: float, cut: float) -> tuple[float, np.ndarray]:
    """The scale that gives the object its size, and a place for it; `cut` is the chance to reach over the border."""
    margin = 1.06
    scale = size / size_of(parts, angle)
    x1, y1, x2, y2 = (v * scale for v in _spans(parts, angle))
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
        s.scenery([Part(rect(*centre, w, h, angle), shade(colour, s.rng.uniform(0.85, 1.1)), int(s.rng.integers(15, 60)), solid=False)])


def alone(builder: Builder, plot: float = 1.15) -> Callable[[Scene, Group, Recipe], None]:
    """A site for each object by itself, anywhere; `plot` is its plot's size relative to the object."""

    def site(s: Scene, g: Group, recipe: Recipe) -> None:
        for _ in range(g.count):
            parts = builder(s.rng, s.pal, detail=g.size > LARGE)
            angle = 0.0 if builder is industry.storagetank else float(s.rng.uniform(0, 2 * np.pi))
            scale, centre = _settle(s, parts, angle, g.size * s.rng.uniform(0.94, 1.06), 0.2 if g.count == 1 else 0.0)
            if plot:
                x1, y1, x2, y2 = _spans(parts, 0.0)
                middle = centre + rotate(np.array([[(x1 + x2) / 2, (y1 + y2) / 2]]), angle)[0] * scale
                _plot(s, angle, (x2 - x1) * scale * plot, (y2 - y1) * scale * plot, middle)
            s.put(g.name, parts, angle, scale, centre)

    return site


def rows(builder: Builder, pitch: tuple[float, float], loose: float = 0.0) -> Callable[[Scene, Group, Recipe], None]:
    """A site with the objects side by side; the pitch is in lengths of one of them, `loose` the chance of scattering."""

    def site(s: Scene, g: Group, recipe: Recipe) -> None:
        if g.count == 1 or s.rng.random() < loose:
            alone(builder, 1.2 if g.count == 1 else 0.0)(s, g, recipe)
            return
        rng, angle, detail = s.rng, float(s.rng.uniform(0, np.pi)), g.size > LARGE
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
            facing = angle + (np.pi if backward and at[1] > 0 else 0) + (rng.normal(0, 0.03) if builder is moving.airplane else 0)
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
    """An object on a line through the image. `lane`: where vehicles may go, as (turn, across, width, stretch kept free)."""

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


def harbors(s: Scene, g: Group, recipe: Recipe) -> None:
    """Piers side by side along the shore; the ships of the recipe lie at their fingers, the rest at anchor."""
    assert s.coast is not None
    rng = s.rng
    ships = next((x for x in recipe.groups if x.name == "ship"), None)
    inward = s.coast.angle + np.pi / 2
    length = ships.size / 0.7 if ships else 0.0
    along = np.linspace(-0.3, 0.3, g.count) if g.count > 1 else np.array([rng.uniform(-0.25, 0.25)])
    left = ships.count if ships else 0
    for k, u in enumerate(along):
        want = -(-left // (g.count - k))
        reach = min(max(length / (g.size * 1.6), 0.09), 0.24) if ships else rng.uniform(0.14, 0.24)
        guess = g.size * 1.5
        fit = int(0.84 * guess / (0.62 * length)) + 1 if ships else int(rng.integers(4, 9))
        fingers = int(np.clip(fit, 2, 14))
        parts = industry.harbor(rng, s.pal, fingers, reach)
        scale = g.size * rng.uniform(0.95, 1.05) / size_of(parts, inward)
        shore = rotate(np.array([[u, np.interp(u, s.coast.u, s.coast.v)]]), s.coast.angle)[0] + 0.5
        centre = shore + 0.46 * scale * np.array([np.cos(inward), np.sin(inward)])
        s.put(g.name, parts, inward, scale, centre)
        if not ships:
            continue
        pitch = 0.84 / (fingers - 1)
        berths = [(-0.36 + (i + 0.5) * pitch, side) for i in range(fingers - 1) for side in (1, -1)]
        for i in rng.permutation(len(berths))[: min(want, len(berths))]:
            x, side = berths[i]
            hull = moving.ship(rng, s.pal, moored=True, detail=ships.size > LARGE)
            facing = inward + (np.pi / 2 if rng.random() < 0.75 else -np.pi / 2)
            hull_scale = min(ships.size * rng.uniform(0.9, 1.1) / size_of(hull, facing), pitch * scale / 0.36)
            at = centre + rotate(np.array([[x, side * (0.025 + 0.5 * hull_scale / scale + 0.01)]]), inward)[0] * scale
            if ((at > 0.01) & (at < 0.99)).all():
                s.put("ship", hull, facing, hull_scale, at)
                left -= 1
    if ships and left > 0:
        afloat(s, Group("ship", left, ships.size), recipe)


def afloat(s: Scene, g: Group, recipe: Recipe) -> None:
    """Ships on open water, each on its own course or all on one."""
    if "harbor" in {x.name for x in recipe.groups} and g in recipe.groups:
        return  # the harbours have placed them
    rng = s.rng
    course, spread = rng.uniform(0, 2 * np.pi), rng.choice((0.15, 6.0))
    for _ in range(g.count):
        parts = moving.ship(rng, s.pal, detail=g.size > LARGE)
        angle = float(course + rng.uniform(-0.5, 0.5) * spread)
        scale = g.size * rng.uniform(0.88, 1.13) / size_of(parts, angle)
        x1, y1, x2, y2 = (v * scale for v in _spans(parts, angle))
        s.put(g.name, parts, angle, scale, s.map.room(rng, (x2 - x1) * 1.25, (y2 - y1) * 1.25, "water"))


def vehicles(s: Scene, g: Group) -> None:
    """On the scene's road, on one of their own, or on a car park."""
    rng = s.rng
    crowded = any(name in ("dam", "trainstation", "harbor") for name, _ in s.objects)
    if s.lanes or (not crowded and rng.random() < 0.6):
        rest = _on_roads(s, g)
    else:
        rest = g.count
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
    order = [i for i in rng.permutation(len(spots)) if s.lanes[0].free > 0 or len(s.objects) == 0 or not _covered(s, points[i])]
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
    rng, angle = s.rng, float(s.rng.uniform(0, np.pi))
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
        s.put(g.name, vehicle, float(angle + np.pi * back + rng.normal(0, 0.02)), scale * rng.uniform(0.93, 1.07), middle)


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
