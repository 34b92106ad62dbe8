"""Composes the scene of one recipe: background and water, the object groups, then houses and trees around them."""

import numpy as np

from remoteclip_jax.scenes import background
from remoteclip_jax.scenes.canvas import ImagingConditions
from remoteclip_jax.scenes.palette import Palette
from remoteclip_jax.scenes.placement import PLACERS
from remoteclip_jax.scenes.recipes import ObjectGroup, Recipe
from remoteclip_jax.scenes.scene import Scene
from remoteclip_jax.scenes.shapes import Part, rect, rotate, transform
from remoteclip_jax.scenes.transport import road
from remoteclip_jax.scenes.vehicle_placement import place_vehicles

# Classes whose roads, rivers or tracks cross the whole image: placed before all others.
LINE_CLASSES = ("dam", "bridge", "overpass", "Expressway-toll-station", "Expressway-Service-area", "trainstation")


def _add_background(scene: Scene, recipe: Recipe) -> list[Part]:
    """Add land and water. Returns candidate houses, to be added where no object stands."""
    rng, pal = scene.rng, scene.pal
    names = {group.class_name for group in recipe.groups}
    afloat = "harbor" in names or recipe.main_class == "ship"
    scene.at_sea = afloat and names == {"ship"} and rng.random() < 0.4
    if scene.at_sea:
        scene.land_cover = background.land_cover(rng, pal, water=True)
        scene.occupancy.mark("water", rect(0.5, 0.5, 2, 2))
        return []
    houses: list[Part] = []
    rural = recipe.main_class in ("windmill", "airplane", "airport", "golffield", "dam")  # rarely in a town
    kind = rng.choice(3, p=(0.3, 0.6, 0.1) if rural else (0.36, 0.28, 0.36))
    if kind == 0:
        scene.land_cover = background.land_cover(rng, pal, water=False)
    elif kind == 1:
        scene.background += background.farmland(rng, pal)
    else:
        streets, houses = background.city_blocks(rng, pal, rng.uniform(0.024, 0.06))
        scene.background += streets
    if afloat:
        scene.coast = background.Coast(rng, rng.uniform(0.5, 0.72))
        water = scene.coast.parts(rng, pal)
        scene.background += water
        scene.occupancy.mark_parts(water)
    elif not names & set(LINE_CLASSES) and recipe.main_class not in ("airport", "stadium", "golffield"):
        chance = rng.random()
        water = []
        if chance < 0.14:
            water = background.Coast(rng, rng.uniform(0.15, 0.35)).parts(rng, pal)
        elif chance < 0.28:
            water = background.river(rng, pal)[0]
        elif chance < 0.5:
            for _ in range(rng.integers(1, 4)):
                water += background.pond(
                    rng, pal, rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.95), rng.uniform(0.02, 0.09)
                )
        scene.background += water
        scene.occupancy.mark_parts(water)
    return houses


def _add_side_road(scene: Scene) -> None:
    """Add a road that belongs to no object."""
    rng = scene.rng
    t = np.linspace(-0.9, 0.9, 40)
    for _ in range(8):
        angle = rng.uniform(0, 2 * np.pi)
        line = np.stack([t, rng.uniform(-0.42, 0.42) + rng.uniform(-0.25, 0.25) * t**2], 1)
        points = rotate(line, angle) + 0.5
        if not scene.occupancy.values_at("water", points[((points > 0) & (points < 1)).all(1)]).any():
            break
    else:
        return  # a road across water would look like a bridge without an annotation
    width = rng.uniform(0.012, 0.04)
    parts = road(scene.pal, line, width, lanes=4 if width > 0.03 else 2 if width > 0.018 else 1, dash=0.03)
    scene.add_scenery(transform(parts, angle, 1.0, (0.5, 0.5)))


def _add_surroundings(scene: Scene, houses: list[Part]) -> None:
    """Add houses, sheds and trees on free ground: never on objects, roads or water."""
    if scene.at_sea:
        return
    rng, pal = scene.rng, scene.pal
    blocked = scene.occupancy.mask("objects") | scene.occupancy.mask("water") | scene.occupancy.mask("scenery")
    n = len(blocked)

    def is_free(x: np.ndarray, y: np.ndarray, reach: float) -> np.ndarray:
        # Whether a square of half side `reach` is free, judged by its centre, corners and edge midpoints.
        free = np.ones(len(x), bool)
        for dx in (-reach, 0.0, reach):
            for dy in (-reach, 0.0, reach):
                i, j = ((y + dy) * n).astype(int), ((x + dx) * n).astype(int)
                inside = (i >= 0) & (i < n) & (j >= 0) & (j < n)
                free &= ~(inside & blocked[np.clip(i, 0, n - 1), np.clip(j, 0, n - 1)])
        return free

    if houses:  # each house has two parts: the building and a detail of its roof
        centres = np.array([p.points.mean(0) for p in houses[::2]])
        reach = float(np.ptp(houses[0].points, axis=0).max()) * 0.75
        for i in np.flatnonzero(is_free(centres[:, 0], centres[:, 1], reach)):
            scene.surroundings += houses[2 * i : 2 * i + 2]
    elif rng.random() < 0.5:
        angle, m = rng.uniform(0, np.pi), int(rng.integers(3, 16))
        xy, length = rng.uniform(0, 1, (m, 2)), rng.uniform(0.025, 0.1)
        for i in np.flatnonzero(is_free(xy[:, 0], xy[:, 1], 0.85 * length)):
            w, h = length * rng.uniform(0.5, 1.2), length * rng.uniform(0.3, 0.7)
            scene.surroundings += background.house(rng, xy[i], w, h, angle, pal.roof())
            i0, j0 = ((xy[i] - 0.6 * length) * n).astype(int).clip(0)
            i1, j1 = ((xy[i] + 0.6 * length) * n).astype(int).clip(0) + 1
            blocked[j0:j1, i0:i1] = True
    clusters = int(rng.integers(0, 14))
    size = rng.uniform(0.007, 0.02)
    points = [rng.uniform(0, 1, (int(rng.integers(0, 40)), 2))]
    for _ in range(clusters):
        points.append(rng.uniform(0, 1, 2) + rng.normal(0, rng.uniform(0.01, 0.06), (int(rng.integers(3, 14)), 2)))
    xy = np.concatenate(points)
    for i in np.flatnonzero(is_free(xy[:, 0], xy[:, 1], 1.5 * size)):
        scene.surroundings += background.tree(rng, pal, float(xy[i, 0]), float(xy[i, 1]), size * rng.uniform(0.6, 1.25))


def compose_scene(recipe: Recipe, rng: np.random.Generator) -> Scene:
    """The complete scene of a recipe. It does not depend on the number of pixels, and nothing is rendered yet."""
    conditions = ImagingConditions.sample(rng)
    scene = Scene(rng, conditions, Palette(rng, conditions.shadow_offset))
    houses = _add_background(scene, recipe)
    names = {group.class_name for group in recipe.groups}
    if not scene.at_sea and not names & {*LINE_CLASSES, "harbor", "airport"} and rng.random() < 0.55:
        _add_side_road(scene)
    ships = next((group for group in recipe.groups if group.class_name == "ship"), None)

    def placing_order(group: ObjectGroup) -> tuple[bool, bool, float]:
        return group.class_name == "vehicle", group.class_name not in (*LINE_CLASSES, "harbor"), -group.size

    for group in sorted(recipe.groups, key=placing_order):
        if group.class_name == "vehicle":
            place_vehicles(scene, group)
        elif group.class_name != "ship" or ships is group:
            PLACERS[group.class_name](scene, group, recipe)
    _add_surroundings(scene, houses)
    return scene
