"""Places harbours and ships: piers along the shore, ships moored at their fingers, others on open water."""

import numpy as np

from remoteclip_jax.scenes import industry, moving_objects
from remoteclip_jax.scenes.recipes import ObjectGroup, Recipe
from remoteclip_jax.scenes.scene import DETAIL_SIZE, Scene
from remoteclip_jax.scenes.shapes import box_size, random_heading, rotate, rotated_bounds


def place_harbors(scene: Scene, group: ObjectGroup, recipe: Recipe) -> None:
    """Place piers along the shore and moor the recipe's ships at them; ships without a berth go to open water."""
    assert scene.coast is not None
    rng = scene.rng
    ships = next((x for x in recipe.groups if x.class_name == "ship"), None)
    inward = scene.coast.angle + np.pi / 2
    ship_length = ships.size / 0.7 if ships else 0.0
    positions = np.linspace(-0.3, 0.3, group.count) if group.count > 1 else np.array([rng.uniform(-0.25, 0.25)])
    remaining = ships.count if ships else 0
    for k, u in enumerate(positions):
        wanted = -(-remaining // (group.count - k))  # rounded up
        reach = min(max(ship_length / (group.size * 1.6), 0.09), 0.24) if ships else rng.uniform(0.14, 0.24)
        pier_length = group.size * 1.5  # about; the exact scale follows from the parts
        fitting = int(0.84 * pier_length / (0.62 * ship_length)) + 1 if ships else int(rng.integers(4, 9))
        fingers = int(np.clip(fitting, 2, 14))
        parts = industry.harbor(rng, scene.pal, fingers, reach)
        scale = group.size * rng.uniform(0.95, 1.05) / box_size(parts, inward)
        shore = rotate(np.array([[u, np.interp(u, scene.coast.u, scene.coast.v)]]), scene.coast.angle)[0] + 0.5
        centre = shore + 0.46 * scale * np.array([np.cos(inward), np.sin(inward)])
        scene.place_object(group.class_name, parts, inward, scale, centre)
        if not ships:
            continue
        pitch = 0.84 / (fingers - 1)
        berths = [(-0.36 + (i + 0.5) * pitch, side) for i in range(fingers - 1) for side in (1, -1)]
        for i in rng.permutation(len(berths))[: min(wanted, len(berths))]:
            x, side = berths[i]
            hull = moving_objects.ship(rng, scene.pal, moored=True, detail=ships.size > DETAIL_SIZE)
            facing = inward + (np.pi / 2 if rng.random() < 0.75 else -np.pi / 2)
            hull_scale = min(ships.size * rng.uniform(0.9, 1.1) / box_size(hull, facing), pitch * scale / 0.36)
            at = centre + rotate(np.array([[x, side * (0.025 + 0.5 * hull_scale / scale + 0.01)]]), inward)[0] * scale
            if ((at > 0.01) & (at < 0.99)).all():
                scene.place_object("ship", hull, facing, hull_scale, at)
                remaining -= 1
    if ships and remaining > 0:
        place_ships(scene, ObjectGroup("ship", remaining, ships.size), recipe)


def place_ships(scene: Scene, group: ObjectGroup, recipe: Recipe) -> None:
    """Place ships on open water, each on its own course or all on a similar one; moored ships are skipped."""
    if "harbor" in {x.class_name for x in recipe.groups} and group in recipe.groups:
        return  # `place_harbors` has placed them
    rng = scene.rng
    course, spread = random_heading(rng), rng.choice((0.15, 0.15, 6.0))
    for _ in range(group.count):
        parts = moving_objects.ship(rng, scene.pal, detail=group.size > DETAIL_SIZE)
        angle = float(course + rng.uniform(-0.5, 0.5) * spread)
        scale = group.size * rng.uniform(0.88, 1.13) / box_size(parts, angle)
        x1, y1, x2, y2 = (v * scale for v in rotated_bounds(parts, angle))
        centre = scene.occupancy.find_room(rng, (x2 - x1) * 1.25, (y2 - y1) * 1.25, "water")
        scene.place_object(group.class_name, parts, angle, scale, centre)
