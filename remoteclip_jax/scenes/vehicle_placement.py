"""Places vehicles: along the scene's roads, or in the bays of a car park."""

import numpy as np

from remoteclip_jax.scenes import moving_objects
from remoteclip_jax.scenes.occupancy import grid_positions
from remoteclip_jax.scenes.palette import mix
from remoteclip_jax.scenes.recipes import ObjectGroup
from remoteclip_jax.scenes.scene import DETAIL_SIZE, Scene, add_highway
from remoteclip_jax.scenes.shapes import Part, box_size, random_heading, rect, rotate, transform


def place_vehicles(scene: Scene, group: ObjectGroup) -> None:
    """Place vehicles on the scene's roads, on a new highway, or in a car park."""
    rng = scene.rng
    crowded = any(name in ("dam", "trainstation", "harbor", "ship") for name, _ in scene.objects)
    on_roads = bool(scene.lanes) or (not crowded and rng.random() < 0.6)
    remaining = _place_on_roads(scene, group) if on_roads else group.count
    if remaining:
        _place_in_car_park(scene, ObjectGroup(group.class_name, remaining, group.size))


def _place_on_roads(scene: Scene, group: ObjectGroup) -> int:
    """Place vehicles on roads; returns the number of vehicles for which there was no room."""
    rng, length = scene.rng, group.size / 0.78
    if not scene.lanes:
        add_highway(scene, length * rng.choice((2.0, 3.4)))
    spots = []
    for lane in scene.lanes:
        rows = max(2, int(lane.width / (0.8 * length)))
        direction = np.array([np.cos(lane.angle), np.sin(lane.angle)])
        normal = np.array([-direction[1], direction[0]])
        steps = np.arange(-1.4, 1.4, 1.6 * length)
        for k in range(rows):
            offset = ((k + 0.5) / rows - 0.5) * lane.width * 0.9
            for t in steps + rng.uniform(0, length):
                at = lane.centre + direction * t + normal * offset
                if abs(t) > lane.keep_clear and (np.abs(at - 0.5) < 0.49 - 0.5 * length).all():
                    spots.append((at, lane.angle + (np.pi if k < rows / 2 else 0.0)))
    points = np.array([p for p, _ in spots]).reshape(-1, 2)
    order = [
        i
        for i in rng.permutation(len(spots))
        if scene.lanes[0].keep_clear > 0 or len(scene.objects) == 0 or not _is_blocked(scene, points[i])
    ]
    scale = None
    for i in order[: group.count]:
        parts = moving_objects.vehicle(rng, scene.pal, detail=group.size > DETAIL_SIZE)
        at, angle = spots[i]
        if scale is None:
            scale = group.size / box_size(moving_objects.vehicle(rng, scene.pal, cars_only=True), angle)
        facing = float(angle + rng.normal(0, 0.03))
        scene.place_object(group.class_name, parts, facing, scale * rng.uniform(0.93, 1.1), at)
    return max(0, group.count - len(order))


def _is_blocked(scene: Scene, point: np.ndarray) -> bool:
    # Vehicles may stand on the bridge or overpass that carries the road, but on no other object.
    occupied = bool(scene.occupancy.values_at("objects", point[None])[0])
    return occupied and scene.objects[0][0] not in ("bridge", "overpass")


def _place_in_car_park(scene: Scene, group: ObjectGroup) -> None:
    """Place vehicles in the bays of a car park; some bays stay empty."""
    rng, angle = scene.rng, random_heading(scene.rng)
    detail = group.size > DETAIL_SIZE
    cars = [moving_objects.vehicle(rng, scene.pal, detail=detail, cars_only=True) for _ in range(group.count)]
    scale = group.size / float(np.median([box_size(p, angle) for p in cars]))
    xy, w, h = grid_positions(rng, group.count, (1.5, 0.62), slack=rng.uniform(0.1, 0.8) if group.size < 0.06 else 0.0)
    c, s = abs(np.cos(angle)), abs(np.sin(angle))
    w, h = w + 0.3, h + 0.3
    centre = np.array(scene.occupancy.find_room(rng, (w * c + h * s) * scale, (w * s + h * c) * scale))
    yard = mix(scene.pal.asphalt, scene.pal.concrete, rng.random())
    line = mix(yard, scene.pal.line, 0.7)
    parts = [Part(rect(0, 0, w, h), yard, 16, solid=False)]
    columns = np.arange(-(w - 0.3) / 2 + 0.75, w / 2, 1.5)
    for x in columns:
        for y in np.arange(-(h - 0.3) / 2, h / 2, 0.62):
            parts.append(Part(rect(float(x), float(y), 1.1, 0.05), line, 8, solid=False))
    scene.add_scenery(transform(parts, angle, scale, centre))
    is_flipped = rng.random(len(xy)) < 0.5
    for at, car, flipped in zip(xy, cars, is_flipped, strict=True):
        middle = centre + rotate(at[None], angle)[0] * scale
        facing = float(angle + np.pi * flipped + rng.normal(0, 0.02))
        scene.place_object(group.class_name, car, facing, scale * rng.uniform(0.93, 1.07), middle)
