"""Places the objects of each class in a scene: apart on a plot, in rows, or across a road or river."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from remoteclip_jax.scenes import industry, moving_objects, sports, transport
from remoteclip_jax.scenes.occupancy import grid_positions
from remoteclip_jax.scenes.palette import shade
from remoteclip_jax.scenes.recipes import ObjectGroup, Recipe
from remoteclip_jax.scenes.scene import DETAIL_SIZE, Lane, Scene
from remoteclip_jax.scenes.shapes import Part, box_size, random_heading, rect, rotate, rotated_bounds
from remoteclip_jax.scenes.ship_placement import place_harbors, place_ships

Builder = Callable[..., list[Part]]  # (rng, palette, detail) → the parts of one object, in its own coordinates
Placer = Callable[[Scene, ObjectGroup, Recipe], None]  # adds a group of objects to the scene


class LaneSpec(NamedTuple):
    """The road of an object, in the object's coordinates; see `Lane`."""

    angle: float
    offset_y: float
    width: float
    keep_clear: float


def _scale_and_centre(
    scene: Scene, parts: list[Part], angle: float, size: float, overhang_probability: float
) -> tuple[float, np.ndarray]:
    """The scale that gives an object its size, and a free place for its centre.

    With probability `overhang_probability` the object may extend beyond the image's border.
    """
    margin = 1.06
    scale = size / box_size(parts, angle)
    x1, y1, x2, y2 = (v * scale for v in rotated_bounds(parts, angle))
    shrink = 0.97 / max(x2 - x1, y2 - y1)
    if shrink < 1:  # long objects must still fit into the image
        scale, x1, y1, x2, y2 = scale * shrink, x1 * shrink, y1 * shrink, x2 * shrink, y2 * shrink
    overhang = float(scene.rng.uniform(0.05, 0.3)) if scene.rng.random() < overhang_probability else 0.0
    box_centre = scene.occupancy.find_room(scene.rng, (x2 - x1) * margin, (y2 - y1) * margin, overhang=overhang)
    return scale, np.array(box_centre) - ((x1 + x2) / 2, (y1 + y2) / 2)


def _add_plot(scene: Scene, angle: float, w: float, h: float, centre: np.ndarray, probability: float = 0.7) -> None:
    """Add a paved or grassy surface under objects, with a given probability."""
    if scene.rng.random() < probability:
        colour = scene.pal.pavement() if scene.rng.random() < 0.6 else scene.pal.turf()
        surface = shade(colour, scene.rng.uniform(0.85, 1.1))
        roughness = int(scene.rng.integers(15, 60))
        scene.add_scenery([Part(rect(centre[0], centre[1], w, h, angle), surface, roughness, solid=False)])


def isolated_placer(builder: Builder, plot: float = 1.15) -> Placer:
    """A placer that puts each object apart from the others; `plot` is its plot's size relative to the object, or 0."""

    def place(scene: Scene, group: ObjectGroup, recipe: Recipe) -> None:
        for _ in range(group.count):
            parts = builder(scene.rng, scene.pal, detail=group.size > DETAIL_SIZE)
            angle = 0.0 if builder is industry.storagetank else float(scene.rng.uniform(0, 2 * np.pi))
            scale, centre = _scale_and_centre(
                scene, parts, angle, group.size * scene.rng.uniform(0.94, 1.06), 0.2 if group.count == 1 else 0.0
            )
            if plot:
                x1, y1, x2, y2 = rotated_bounds(parts, 0.0)
                middle = centre + rotate(np.array([[(x1 + x2) / 2, (y1 + y2) / 2]]), angle)[0] * scale
                _add_plot(scene, angle, (x2 - x1) * scale * plot, (y2 - y1) * scale * plot, middle)
            scene.place_object(group.class_name, parts, angle, scale, centre)

    return place


def row_placer(builder: Builder, pitch: tuple[float, float], scatter: float = 0.0) -> Placer:
    """A placer that puts the objects side by side, or apart with probability `scatter`; pitch in object lengths."""

    def place(scene: Scene, group: ObjectGroup, recipe: Recipe) -> None:
        if group.count == 1 or scene.rng.random() < scatter:
            isolated_placer(builder, 1.2 if group.count == 1 else 0.0)(scene, group, recipe)
            return
        rng, angle, detail = scene.rng, random_heading(scene.rng), group.size > DETAIL_SIZE
        built = [builder(rng, scene.pal, detail=detail) for _ in range(group.count)]
        scale = group.size / float(np.median([box_size(p, angle) for p in built]))
        spread = rng.uniform(1.0, 1.25)
        xy, w, h = grid_positions(rng, group.count, (pitch[0] * spread, pitch[1] * spread))
        w, h = w * scale, h * scale
        if max(w, h) > 0.95:
            scale, w, h = scale * 0.95 / max(w, h), w * 0.95 / max(w, h), h * 0.95 / max(w, h)
        c, s = abs(np.cos(angle)), abs(np.sin(angle))
        centre = np.array(scene.occupancy.find_room(rng, w * c + h * s, w * s + h * c))
        _add_plot(scene, angle, w * 1.04, h * 1.04, centre, 0.85)
        is_airplane = builder is moving_objects.airplane
        opposite_halves = is_airplane and rng.random() < 0.5
        for at, parts in zip(xy, built, strict=True):
            middle = centre + rotate(at[None], angle)[0] * scale
            facing = (
                angle + (np.pi if opposite_halves and at[1] > 0 else 0) + (rng.normal(0, 0.03) if is_airplane else 0)
            )
            if builder is industry.storagetank:  # must not be rotated: its lit side faces the sun
                scene.place_object(group.class_name, parts, 0.0, scale * rng.uniform(0.92, 1.08), middle)
            else:
                scene.place_object(group.class_name, parts, facing, scale, middle)

    return place


def place_airplanes(scene: Scene, group: ObjectGroup, recipe: Recipe) -> None:
    """Place airplanes on the stands of an airport if there is one; otherwise in rows on an apron, or scattered."""
    if not scene.airplane_stands:
        row_placer(moving_objects.airplane, (1.15, 1.25), scatter=0.25)(scene, group, recipe)
        return
    for i in scene.rng.permutation(len(scene.airplane_stands))[: group.count]:
        centre, angle, largest_scale = scene.airplane_stands[i]
        parts = moving_objects.airplane(scene.rng, scene.pal)
        scene.place_object(
            group.class_name, parts, angle, min(group.size / box_size(parts, angle), largest_scale), centre
        )


def place_airports(scene: Scene, group: ObjectGroup, recipe: Recipe) -> None:
    """Place one airport over most of the image, and record the airplane stands in front of its terminal."""
    parts = transport.airport(scene.rng, scene.pal)
    angle = float(scene.rng.uniform(0, 2 * np.pi))
    scale, centre = _scale_and_centre(scene, parts, angle, group.size, 0.2)
    scene.place_object(group.class_name, parts, angle, scale, centre)
    apron = next(p for p in parts if p.roughness == transport.APRON_ROUGHNESS)
    (x1, y1), (x2, _) = apron.points.min(0), apron.points.max(0)
    for x in np.linspace(x1 + 0.04, x2 - 0.04, 6):
        for y, facing in ((y1 + 0.075, np.pi / 2), (y1 + 0.03, 0.0)):
            at = centre + rotate(np.array([[x, y]]), angle)[0] * scale
            scene.airplane_stands.append((at, angle + facing, (x2 - x1 - 0.08) / 5 * 0.9 * scale))


def line_placer(builder: Builder, lane: LaneSpec | None) -> Placer:
    """A placer for objects on a road, river or track across the image; `lane` is the road that vehicles may use."""

    def place(scene: Scene, group: ObjectGroup, recipe: Recipe) -> None:
        parts = builder(scene.rng, scene.pal)
        angle = float(scene.rng.uniform(0, 2 * np.pi))
        scale, centre = _scale_and_centre(scene, parts, angle, group.size, 0.15 if group.count == 1 else 0.0)
        if group.count == 2:  # the second one lies on the other side of the same road
            shift = (transport.SERVICE_DEPTH / 2 + transport.SERVICE_GAP) * scale
            normal = np.array([-np.sin(angle), np.cos(angle)])
            centre = 0.5 - normal * shift + scene.rng.uniform(-0.05, 0.05, 2)
            other = [p for p in builder(scene.rng, scene.pal) if np.abs(p.points).max() < 2]
            scene.place_object(group.class_name, parts, angle, scale, centre)
            scene.place_object(group.class_name, other, angle + np.pi, scale, centre + 2 * normal * shift)
        else:
            scene.place_object(group.class_name, parts, angle, scale, centre)
        if lane:
            middle = centre + rotate(np.array([[0.0, lane.offset_y]]), angle)[0] * scale
            scene.lanes.append(Lane(middle, angle + lane.angle, lane.width * scale, lane.keep_clear * scale))

    return place


PLACERS: dict[str, Placer] = {
    "airplane": place_airplanes,
    "airport": place_airports,
    "baseballfield": isolated_placer(sports.baseballfield, 1.2),
    "basketballcourt": row_placer(sports.basketballcourt, (1.15, 0.68), scatter=0.2),
    "bridge": line_placer(transport.bridge, LaneSpec(0.0, 0.0, 0.12, 0.0)),
    "chimney": isolated_placer(industry.chimney, 1.3),
    "dam": line_placer(industry.dam, None),
    "Expressway-Service-area": line_placer(
        transport.service_area, LaneSpec(0.0, transport.SERVICE_DEPTH / 2 + transport.SERVICE_GAP, 0.15, 0.0)
    ),
    "Expressway-toll-station": line_placer(transport.toll_station, LaneSpec(np.pi / 2, 0.0, 0.36, 0.3)),
    "golffield": isolated_placer(sports.golffield, 0.0),
    "groundtrackfield": isolated_placer(sports.groundtrackfield, 1.15),
    "harbor": place_harbors,
    "overpass": line_placer(transport.overpass, LaneSpec(0.0, 0.0, 0.22, 0.0)),
    "ship": place_ships,
    "stadium": isolated_placer(sports.stadium, 1.2),
    "storagetank": row_placer(industry.storagetank, (1.45, 1.45), scatter=0.1),
    "tenniscourt": row_placer(sports.tenniscourt, (1.06, 0.54), scatter=0.05),
    "trainstation": line_placer(transport.trainstation, None),
    "windmill": isolated_placer(industry.windmill, 0.0),
}
