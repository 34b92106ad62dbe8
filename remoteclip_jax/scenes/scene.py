"""The picture in the making: ground, roads, objects in image coordinates, and how they become boxes and pixels."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from remoteclip_jax.scenes import ground
from remoteclip_jax.scenes.canvas import Canvas, Light
from remoteclip_jax.scenes.layout import Map
from remoteclip_jax.scenes.palette import Palette
from remoteclip_jax.scenes.shapes import Part, heading, place, visible_box
from remoteclip_jax.scenes.traffic import FAR, road

LARGE = 0.045  # from this size on an object gets its fine details
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
    slots: list[tuple[np.ndarray, float, float]] = field(
        default_factory=list
    )  # stands of airplanes: centre, angle, room
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

    def put(
        self, name: str, local: list[Part], angle: float, scale: float, centre: tuple[float, float] | np.ndarray
    ) -> None:
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
        if self.cover is not None:  # otherwise fields or blocks of houses cover the ground
            canvas.ground(self.cover)
        canvas.paint(self.floor)
        canvas.paint(self.parts)
        canvas.paint(self.around)
        return canvas.finish(self.rng)


def highway(s: Scene, width: float, tries: int = 12) -> Lane:
    """A straight road through the image where it covers least of what is there."""
    rng = s.rng
    best: tuple[float, np.ndarray, float] | None = None
    t = np.linspace(-0.7, 0.7, 60)
    for _ in range(tries):
        centre, angle = 0.5 + rng.uniform(-0.25, 0.25, 2), heading(rng)
        along = centre + t[:, None] * (np.cos(angle), np.sin(angle))
        inside = along[((along > 0) & (along < 1)).all(1)]
        cost = float((30 * s.map.at("wet", inside) + 5 * s.map.at("taken", inside)).mean()) - 0.01 * len(inside)
        if best is None or cost < best[0]:
            best = cost, centre, angle
    assert best is not None
    _, centre, angle = best
    line = np.stack([np.linspace(-1, 1, 50) * FAR, np.zeros(50)], 1)
    s.scenery(place(road(s.pal, line / FAR * 1.5, width, 4 if width > 0.05 else 2, dash=0.03), angle, 1.0, centre))
    lane = Lane(centre, angle, width)
    s.lanes.append(lane)
    return lane
