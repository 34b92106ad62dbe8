"""A scene: background, roads and annotated objects in image coordinates; it gives the boxes and renders the image."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from remoteclip_jax.scenes.background import Coast
from remoteclip_jax.scenes.canvas import Canvas, ImagingConditions
from remoteclip_jax.scenes.occupancy import OccupancyMap
from remoteclip_jax.scenes.palette import Palette
from remoteclip_jax.scenes.shapes import Part, random_heading, transform, visible_box
from remoteclip_jax.scenes.transport import FAR, road

DETAIL_SIZE = 0.045  # an object at least this large gets fine details; relative to the image's side
MIN_VISIBLE_FRACTION = 0.4  # an object cut by the border is annotated if at least this much of its area is visible


@dataclass
class Lane:
    """A straight road for vehicles: a point on it, its direction and its width.

    No vehicle is placed nearer to `centre` than `keep_clear` along the road.
    """

    centre: np.ndarray
    angle: float
    width: float
    keep_clear: float = 0.0


@dataclass
class Scene:
    """All geometry of one image, in image coordinates (the side is 1); no pixels yet.

    `parts` are painted over `background`, and `surroundings` (houses and trees) over both. `objects` lists the
    annotated objects, each as its class name and its parts.
    """

    rng: np.random.Generator
    conditions: ImagingConditions
    pal: Palette
    occupancy: OccupancyMap = field(default_factory=OccupancyMap)
    land_cover: UInt8[np.ndarray, "n n 4"] | None = None
    background: list[Part] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    surroundings: list[Part] = field(default_factory=list)
    objects: list[tuple[str, list[Part]]] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)
    # Of an airport: centre, angle and largest scale of the airplane on each stand.
    airplane_stands: list[tuple[np.ndarray, float, float]] = field(default_factory=list)
    coast: Coast | None = None
    at_sea: bool = False

    def add_scenery(self, parts: list[Part]) -> None:
        """Add parts that belong to no annotated object."""
        self.parts += parts
        self.occupancy.mark_parts(parts)

    def add_object(self, class_name: str, parts: list[Part]) -> None:
        """Add an annotated object and mark its area as occupied."""
        self.parts += parts
        self.objects.append((class_name, parts))
        self.occupancy.mark_parts(parts)

    def place_object(
        self,
        class_name: str,
        local_parts: list[Part],
        angle: float,
        scale: float,
        centre: tuple[float, float] | np.ndarray,
    ) -> None:
        """Add an annotated object given in its own coordinates: rotated, scaled and moved to `centre`."""
        self.add_object(class_name, transform(local_parts, angle, scale, centre))

    def visible_boxes(self) -> tuple[np.ndarray, list[str]]:
        """Boxes xyxy [n, 4] relative to the image's side, tight around the visible parts; and their class names."""
        boxes, names = [], []
        for class_name, parts in self.objects:
            visible = visible_box(parts)
            if visible is not None and visible[1] >= MIN_VISIBLE_FRACTION:
                boxes.append(visible[0])
                names.append(class_name)
        return np.array(boxes, np.float64).reshape(-1, 4), names

    def render(self, size: int) -> UInt8[np.ndarray, "size size 3"]:
        """The scene as an RGB image of `size` pixels a side."""
        canvas = Canvas(size, self.conditions)
        if self.land_cover is not None:  # otherwise farmland or city blocks in `background` cover the whole image
            canvas.fill_background(self.land_cover)
        canvas.paint(self.background)
        canvas.paint(self.parts)
        canvas.paint(self.surroundings)
        return canvas.to_image(self.rng)


def add_highway(scene: Scene, width: float, tries: int = 12) -> Lane:
    """Add a straight road across the image, where it crosses little water and few objects; returns its lane."""
    rng = scene.rng
    best: tuple[float, np.ndarray, float] | None = None  # cost, centre, angle
    t = np.linspace(-0.7, 0.7, 60)
    for _ in range(tries):
        centre, angle = 0.5 + rng.uniform(-0.25, 0.25, 2), random_heading(rng)
        along = centre + t[:, None] * (np.cos(angle), np.sin(angle))
        inside = along[((along > 0) & (along < 1)).all(1)]
        in_water = scene.occupancy.values_at("water", inside)
        on_objects = scene.occupancy.values_at("objects", inside)
        cost = float((30 * in_water + 5 * on_objects).mean()) - 0.01 * len(inside)
        if best is None or cost < best[0]:
            best = cost, centre, angle
    assert best is not None
    _, centre, angle = best
    line = np.stack([np.linspace(-1, 1, 50) * FAR, np.zeros(50)], 1)
    parts = road(scene.pal, line / FAR * 1.5, width, 4 if width > 0.05 else 2, dash=0.03)
    scene.add_scenery(transform(parts, angle, 1.0, centre))
    lane = Lane(centre, angle, width)
    scene.lanes.append(lane)
    return lane
