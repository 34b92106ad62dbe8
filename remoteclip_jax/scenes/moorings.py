"""Ships and harbours: piers along the shore, ships at their fingers, others on open water."""

import numpy as np

from remoteclip_jax.scenes import industry
from remoteclip_jax.scenes import vehicles as moving
from remoteclip_jax.scenes.deck import Group, Recipe
from remoteclip_jax.scenes.scene import LARGE, Scene
from remoteclip_jax.scenes.shapes import heading, rotate, size_of, spans


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
    course, spread = heading(rng), rng.choice((0.15, 0.15, 6.0))
    for _ in range(g.count):
        parts = moving.ship(rng, s.pal, detail=g.size > LARGE)
        angle = float(course + rng.uniform(-0.5, 0.5) * spread)
        scale = g.size * rng.uniform(0.88, 1.13) / size_of(parts, angle)
        x1, y1, x2, y2 = (v * scale for v in spans(parts, angle))
        s.put(g.name, parts, angle, scale, s.map.room(rng, (x2 - x1) * 1.25, (y2 - y1) * 1.25, "water"))
