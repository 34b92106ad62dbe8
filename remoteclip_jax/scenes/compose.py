"""One scene for one recipe: the ground, the waters, each group on its site, and what stands around."""

import numpy as np

from remoteclip_jax.scenes import ground
from remoteclip_jax.scenes.canvas import Light
from remoteclip_jax.scenes.deck import Group, Recipe
from remoteclip_jax.scenes.palette import Palette
from remoteclip_jax.scenes.scene import Scene
from remoteclip_jax.scenes.shapes import Part, place, rect, rotate
from remoteclip_jax.scenes.sites import SITES
from remoteclip_jax.scenes.streets import vehicles
from remoteclip_jax.scenes.traffic import road
from remoteclip_jax.scenes.vehicles import tree

# Classes whose roads, rivers or tracks run through the whole image: placed before everything else.
LONG = ("dam", "bridge", "overpass", "Expressway-toll-station", "Expressway-Service-area", "trainstation")


def _background(s: Scene, recipe: Recipe) -> list[Part]:
    """Ground and waters; returns the houses that may be built once it is known where there is room."""
    rng, pal = s.rng, s.pal
    names = {g.name for g in recipe.groups}
    afloat = "harbor" in names or recipe.main == "ship"
    s.at_sea = afloat and names == {"ship"} and rng.random() < 0.4
    if s.at_sea:
        s.cover = ground.cover(rng, pal, water=True)
        s.map.mark("wet", rect(0.5, 0.5, 2, 2))
        return []
    houses: list[Part] = []
    remote = recipe.main in ("windmill", "airplane", "airport", "golffield", "dam")  # seldom in the middle of a town
    kind = rng.choice(3, p=(0.3, 0.6, 0.1) if remote else (0.36, 0.28, 0.36))
    if kind == 0:
        s.cover = ground.cover(rng, pal, water=False)
    elif kind == 1:
        s.floor += ground.fields(rng, pal)
    else:
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
                water += ground.pond(
                    rng, pal, rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.95), rng.uniform(0.02, 0.09)
                )
        s.floor += water
        s.map.mark_parts(water)
    return houses


def _byway(s: Scene) -> None:
    """A road that has nothing to do with the objects."""
    rng = s.rng
    t = np.linspace(-0.9, 0.9, 40)
    for _ in range(8):
        a = rng.uniform(0, 2 * np.pi)
        line = np.stack([t, rng.uniform(-0.42, 0.42) + rng.uniform(-0.25, 0.25) * t**2], 1)
        seen = rotate(line, a) + 0.5
        if not s.map.at("wet", seen[((seen > 0) & (seen < 1)).all(1)]).any():
            break
    else:
        return  # every road would cross water, and be a bridge that nobody annotated
    width = rng.uniform(0.012, 0.04)
    parts = road(s.pal, line, width, lanes=4 if width > 0.03 else 2 if width > 0.018 else 1, dash=0.03)
    s.scenery(place(parts, a, 1.0, (0.5, 0.5)))


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
    light = Light.draw(rng)
    s = Scene(rng, light, Palette(rng, light.shadow))
    houses = _background(s, recipe)
    names = {g.name for g in recipe.groups}
    if not s.at_sea and not names & {*LONG, "harbor", "airport"} and rng.random() < 0.55:
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
