"""A coarse map of where objects, water and scenery are, to find free available for objects."""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from remoteclip_jax.scenes.shapes import Part, Points

CELLS = 96


class OccupancyMap:
    """Three coarse masks over the image: "objects", "water", and "scenery" such as roads."""

    def __init__(self) -> None:
        self._images = {k: Image.new("L", (CELLS, CELLS)) for k in ("objects", "water", "scenery")}
        self._draws = {k: ImageDraw.Draw(v) for k, v in self._images.items()}

    def mark(self, kind: str, points: Points) -> None:
        """Set the cells under a polygon."""
        self._draws[kind].polygon((points * CELLS - 0.5).ravel().tolist(), fill=1, outline=1)

    def mark_parts(self, parts: Iterable[Part]) -> None:
        """Mark the cells under parts: water, solid parts as objects, all others as scenery."""
        for p in parts:
            self.mark("water" if p.is_water else "objects" if p.solid else "scenery", p.points)

    def mask(self, kind: str) -> np.ndarray:
        """The mask of one kind, boolean [CELLS, CELLS], indexed [y, x]."""
        return np.asarray(self._images[kind]).astype(bool)

    def values_at(self, kind: str, points: Points) -> np.ndarray:
        """The values of a mask at points [n, 2]; points outside the image get the value at the nearest border."""
        i = np.clip((points * CELLS).astype(int), 0, CELLS - 1)
        return self.mask(kind)[i[:, 1], i[:, 0]]

    def find_room(
        self,
        rng: np.random.Generator,
        w: float,
        h: float,
        surface: str = "land",
        overhang: float = 0.0,
        tries: int = 300,
    ) -> tuple[float, float]:
        """The centre of a box w x h where it covers the least of other objects and of the wrong surface.

        `surface` is "land" or "water". The box may extend beyond the border by the fraction `overhang` of its size.
        `tries` random centres are compared.
        """
        reach_x, reach_y = max(0.5 - w * (0.5 - overhang), 0.02), max(0.5 - h * (0.5 - overhang), 0.02)
        centres = 0.5 + rng.uniform(-1, 1, (tries, 2)) * (reach_x, reach_y)
        water = self.mask("water")
        wrong_surface = water if surface == "land" else ~water
        cost = 50.0 * self.mask("objects") + 6.0 * wrong_surface + 1.0 * self.mask("scenery")
        integral = np.zeros((CELLS + 1, CELLS + 1))
        integral[1:, 1:] = cost.cumsum(0).cumsum(1)
        half = np.array((w / 2, h / 2))
        low = np.clip(np.floor((centres - half) * CELLS), 0, CELLS).astype(int)
        high = np.clip(np.ceil((centres + half) * CELLS), 0, CELLS).astype(int)
        total = (
            integral[high[:, 1], high[:, 0]]
            - integral[low[:, 1], high[:, 0]]
            - integral[high[:, 1], low[:, 0]]
            + integral[low[:, 1], low[:, 0]]
        )
        best = int(total.argmin())  # the first of equal costs, so that the choice stays random
        return float(centres[best, 0]), float(centres[best, 1])


def grid_positions(
    rng: np.random.Generator, n: int, pitch: Sequence[float], slack: float = 0.0
) -> tuple[np.ndarray, float, float]:
    """`n` positions [n, 2] on a grid around the origin, and the width and height of the grid.

    `pitch` is the spacing in x and y. A `slack` above 0 adds about `slack` · n positions, and a random choice of that
    many stays empty.
    """
    available = int(np.ceil(n * (1 + slack)))
    aspect = rng.uniform(0.8, 2.8)
    columns = min(max(1, round(np.sqrt(available * aspect * pitch[1] / pitch[0]))), available)
    rows = -(-available // columns)
    xy = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2).astype(float)
    xy = (xy - ((columns - 1) / 2, (rows - 1) / 2)) * pitch
    chosen = np.sort(rng.permutation(len(xy))[:n]) if slack else np.arange(n)
    return xy[chosen], columns * pitch[0], rows * pitch[1]
