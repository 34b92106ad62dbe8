"""One image as parts: the ground, the roads, each group of the recipe on its site, and what stands around."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from remoteclip_jax.data.synthetic import ground
from remoteclip_jax.data.synthetic.canvas import Canvas, Light
from remoteclip_jax.data.synthetic.deck import Group, Recipe
from remoteclip_jax.data.synthetic.layout import Map
from remoteclip_jax.data.synthetic.palette import Palette
from remoteclip_jax.data.synthetic.shapes import Part, place, rect, visible_box
from remoteclip_jax.data.synthetic.traffic import FAR, road
from remoteclip_jax.data.synthetic.vehicles import tree

# Classes whose roads, rivers or tracks run through the whole image: placed before everything else.
LONG = ("dam", "bridge", "overpass", "Expressway-toll-station", "Expressway-Service-area", "trainstation")
VISIBLE = 0.4  # an object cut by the border counts while this much of it is seen


@dataclass
class Lane:
    """A straight road to put vehicles on: a point on it, its direction, its width, and the stretch to leave free."""

    centre: np.ndarray
    angle: float
    width: float
    free: float = 0.0


@dataclass
class Scene:
    """The picture in the making. `objects` holds the annotated ones: class name and parts in image coordinates."""

    rng: np.random.Generator
    light: Light
    pal: Palette
    map: Map = field(default_factory=Map)
    cover: UInt8[np.ndarray, "n n 4"] | None = None
    floor: list[Part] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    around: list[Part] = field(default_factory=list)
    objects: list[tuple[str, list[Part]]] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)
    slots: list[tuple[np.ndarray, float, float]] = field(default_factory=list)  # stands of airplanes: centre, angle, room
    coast: ground.Coast | None = None
    at_sea: bool = False

    def scenery(self, parts: list[Part]) -> None:
        """Add parts that are no object."""
        self.parts += parts
        self.map.mark_parts(parts)

    def add(self, name: str, parts: list[Part]) -> None:
        """Add an object and take its room."""
        self.parts += parts
        self.objects.append((name, parts))
        self.map.mark_parts(parts)

    def put(self, name: str, local: list[Part], angle: float, scale: float, centre: tuple[float, float] | np.ndarray) -> None:
        """Turn, scale and move an object's parts, and add it."""
        self.add(name, place(local, angle, scale, centre))

    def boxes(self) -> tuple[np.ndarray, list[str]]:
        """Boxes xyxy [n, 4] in units of the image's side, tight around what is seen, and the class names."""
        boxes, names = [], []
        for name, parts in self.objects:
            seen = visible_box(parts)
            if seen is not None and seen[1] >= VISIBLE:
                boxes.append(seen[0])
                names.append(name)
        return np.array(boxes, np.float64).reshape(-1, 4), names

    def render(self, size: int) -> UInt8[np.ndarray, "size size 3"]:
        """The picture."""
        canvas = Canvas(size, self.light)
        assert self.cover is not None
        canvas.ground(self.cover)
        canvas.paint(self.floor)
        canvas.paint(self.parts)
        canvas.paint(self.around)
        return canvas.finish(self.rng)


def _background(s: Scene, recipe: Recipe) -> list[Part]:
    """Ground and waters; returns the houses that may be built once it is known where there is room."""
    rng, pal = s.rng, s.pal
    names = {g.name for g in recipe.groups}
    afloat = "harbor" in names or recipe.main == "ship"
    s.at_sea = afloat and names == {"ship"} and rng.random() < 0.4
    s.cover = ground.cover(rng, pal, water=s.at_sea)
    if s.at_sea:
        s.map.mark("wet", rect(0.5, 0.5, 2, 2))
        return []
    houses: list[Part] = []
    kind = rng.choice(3, p=(0.36, 0.3, 0.34))
    if kind == 1:
        s.floor += ground.fields(rng, pal)
    elif kind == 2:
        floor, houses = ground.blocks(rng, pal, rng.uniform(0.024, 0.06))
        s.floor += floor
    if afloat:
        s.coast = ground.Coast(rng, rng.uniform(0.5, 0.72))
        water = s.coast.parts(rng, pal)
        s.floor += water
        s.map.mark_parts(water)
    elif not names & set(LONG) and recipe.main not in ("airport", "stadium", "golffield"):
        chance = rng.random()
        water = []
        if chance < 0.14:
            water = ground.Coast(rng, rng.uniform(0.15, 0.35)).parts(rng, pal)
        elif chance < 0.28:
            water = ground.river(rng, pal)[0]
        elif chance < 0.5:
            for _ in range(rng.integers(1, 4)):
                water += ground.pond(rng, pal, *rng.uniform(0.05, 0.95, 2), rng.uniform(0.02, 0.09))
        s.floor += water
        s.map.mark_parts(water)
    return houses


def _byway(s: Scene) -> None:
    """A road that has nothing to do with the objects."""
    rng = s.rng
    a = rng.uniform(0, 2 * np.pi)
    t = np.linspace(-0.9, 0.9, 40)
    line = np.stack([t, rng.uniform(-0.42, 0.42) + rng.uniform(-0.25, 0.25) * t**2], 1)
    width = rng.uniform(0.012, 0.04)
    parts = road(s.pal, line, width, lanes=4 if width > 0.03 else 2 if width > 0.018 else 1, dash=0.03)
    s.scenery(place(parts, a, 1.0, (0.5, 0.5)))


def highway(s: Scene, width: float, tries: int = 12) -> Lane:
    """A straight road through the image where it covers least of what is there."""
    rng = s.rng
    best: tuple[float, np.ndarray, float] | None = None
    t = np.linspace(-0.7, 0.7, 60)
    for _ in range(tries):
        centre, angle = 0.5 + rng.uniform(-0.25, 0.25, 2), float(rng.uniform(0, 2 * np.pi))
        along = centre + t[:, None] * (np.cos(angle), np.sin(angle))
        inside = along[((along > 0) & (along < 1)).all(1)]
        cost = float((3 * s.map.at("wet", inside) + 5 * s.map.at("taken", inside)).mean()) - 0.01 * len(inside)
        if best is None or cost < best[0]:
            best = cost, centre, angle
    assert best is not None
    _, centre, angle = best
    line = np.stack([np.linspace(-1, 1, 50) * FAR, np.zeros(50)], 1)
    s.scenery(place(road(s.pal, line / FAR * 1.5, width, 4 if width > 0.05 else 2, dash=0.03), angle, 1.0, centre))
    lane = Lane(centre, angle, width)
    s.lanes.append(lane)
    return lane


def _surroundings(s: Scene, houses: list[Part]) -> None:
    """Houses, sheds and trees wherever there is room: never on objects, roads or water."""
    if s.at_sea:
        return
    rng, pal = s.rng, s.pal
    blocked = s.map.mask("taken") | s.map.mask("wet") | s.map.mask("scenery")
    n = len(blocked)

    def free(x: np.ndarray, y: np.ndarray, reach: float) -> np.ndarray:
        ok = np.ones(len(x), bool)
        for dx in (-reach, 0.0, reach):
            for dy in (-reach, 0.0, reach):
                i, j = ((y + dy) * n).astype(int), ((x + dx) * n).astype(int)
                inside = (i >= 0) & (i < n) & (j >= 0) & (j < n)
                ok &= ~(inside & blocked[np.clip(i, 0, n - 1), np.clip(j, 0, n - 1)])
        return ok

    if houses:  # each house is a pair of parts: walls, then roof
        centres = np.array([p.points.mean(0) for p in houses[::2]])
        reach = float(np.ptp(houses[0].points, axis=0).max()) * 0.75
        for i in np.flatnonzero(free(centres[:, 0], centres[:, 1], reach)):
            s.around += houses[2 * i : 2 * i + 2]
    elif rng.random() < 0.5:
        angle, m = rng.uniform(0, np.pi), int(rng.integers(3, 16))
        xy, length = rng.uniform(0, 1, (m, 2)), rng.uniform(0.025, 0.1)
        for i in np.flatnonzero(free(xy[:, 0], xy[:, 1], 0.85 * length)):
            w, h = length * rng.uniform(0.5, 1.2), length * rng.uniform(0.3, 0.7)
            s.around += ground.house(rng, xy[i], w, h, angle, pal.roof())
            i0, j0 = ((xy[i] - 0.6 * length) * n).astype(int).clip(0)
            i1, j1 = ((xy[i] + 0.6 * length) * n).astype(int).clip(0) + 1
            blocked[j0:j1, i0:i1] = True
    clusters = int(rng.integers(0, 14))
    size = rng.uniform(0.007, 0.02)
    points = [rng.uniform(0, 1, (int(rng.integers(0, 40)), 2))]
    for _ in range(clusters):
        points.append(rng.uniform(0, 1, 2) + rng.normal(0, rng.uniform(0.01, 0.06), (int(rng.integers(3, 14)), 2)))
    xy = np.concatenate(points)
    for i in np.flatnonzero(free(xy[:, 0], xy[:, 1], 1.5 * size)):
        s.around += tree(rng, pal, float(xy[i, 0]), float(xy[i, 1]), size * rng.uniform(0.6, 1.25))


def compose(recipe: Recipe, rng: np.random.Generator) -> Scene:
    """Lay out a whole scene for a recipe; nothing is drawn yet, and nothing depends on the number of pixels."""
    from remoteclip_jax.data.synthetic.sites import SITES, vehicles

    light = Light.draw(rng)
    s = Scene(rng, light, Palette(rng, light.shadow))
    houses = _background(s, recipe)
    names = {g.name for g in recipe.groups}
    if not s.at_sea and not names & {*LONG, "harbor"} and rng.random() < 0.55:
        _byway(s)
    ships = next((g for g in recipe.groups if g.name == "ship"), None)

    def rank(g: Group) -> tuple[bool, bool, float]:
        return g.name == "vehicle", g.name not in (*LONG, "harbor"), -g.size

    for g in sorted(recipe.groups, key=rank):
        if g.name == "vehicle":
            vehicles(s, g)
        elif g.name != "ship" or ships is g:
            SITES[g.name](s, g, recipe)
    _surroundings(s, houses)
    return s
