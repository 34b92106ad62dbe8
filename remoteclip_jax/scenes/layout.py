"""Finding room: a coarse map of what is taken, where water is, and where roads run."""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from remoteclip_jax.scenes.shapes import Part, Points

CELLS = 96


class Map:
    """Three coarse masks over the image: `taken` by objects, `wet`, and `scenery` such as roads."""

    def __init__(self) -> None:
        self._images = {k: Image.new("L", (CELLS, CELLS)) for k in ("taken", "wet", "scenery")}
        self._draws = {k: ImageDraw.Draw(v) for k, v in self._images.items()}

    def mark(self, kind: str, points: Points) -> None:
        """Set the cells under a polygon."""
        self._draws[kind].polygon((points * CELLS - 0.5).ravel().tolist(), fill=1, outline=1)

    def mark_parts(self, parts: Iterable[Part]) -> None:
        """Solid parts take room, wet ones become water, the rest is scenery."""
        for p in parts:
            self.mark("wet" if p.wet else "taken" if p.solid else "scenery", p.points)

    def mask(self, kind: str) -> np.ndarray:
        """The mask as an array of booleans, indexed [y, x]."""
        return np.asarray(self._images[kind]).astype(bool)

    def at(self, kind: str, points: Points) -> np.ndarray:
        """The mask's values at points; outside the image, those at its border."""
        i = np.clip((points * CELLS).astype(int), 0, CELLS - 1)
        return self.mask(kind)[i[:, 1], i[:, 0]]

    def room(
        self, rng: np.random.Generator, w: float, h: float, ground: str = "land", beyond: float = 0.0, tries: int = 300
    ) -> tuple[float, float]:
        """A centre for a box w x h where it covers least of other objects, then least of the wrong ground.

        `ground` is "land" or "water"; `beyond` lets the box hang over the border by that part of its size.
        """
        reach_x, reach_y = max(0.5 - w * (0.5 - beyond), 0.02), max(0.5 - h * (0.5 - beyond), 0.02)
        centres = 0.5 + rng.uniform(-1, 1, (tries, 2)) * (reach_x, reach_y)
        wet = self.mask("wet")
        wrong = wet if ground == "land" else ~wet
        cost = 50.0 * self.mask("taken") + 6.0 * wrong + 1.0 * self.mask("scenery")
        table = np.zeros((CELLS + 1, CELLS + 1))
        table[1:, 1:] = cost.cumsum(0).cumsum(1)
        half = np.array((w / 2, h / 2))
        low = np.clip(np.floor((centres - half) * CELLS), 0, CELLS).astype(int)
        high = np.clip(np.ceil((centres + half) * CELLS), 0, CELLS).astype(int)
        total = (
            table[high[:, 1], high[:, 0]]
            - table[low[:, 1], high[:, 0]]
            - table[high[:, 1], low[:, 0]]
            + table[low[:, 1], low[:, 0]]
        )
        best = int(total.argmin())  # the first of equals: the choice stays random
        return float(centres[best, 0]), float(centres[best, 1])


def lattice(
    rng: np.random.Generator, n: int, pitch: Sequence[float], slack: float = 0.0
) -> tuple[np.ndarray, float, float]:
    """`n` places on a grid of a given pitch, centred, the grid's width and height; `slack` leaves places empty."""
    places = int(np.ceil(n * (1 + slack)))
    aspect = rng.uniform(0.8, 2.8)
    columns = min(max(1, round(np.sqrt(places * aspect * pitch[1] / pitch[0]))), places)
    rows = -(-places // columns)
    xy = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2).astype(float)
    xy = (xy - ((columns - 1) / 2, (rows - 1) / 2)) * pitch
    chosen = np.sort(rng.permutation(len(xy))[:n]) if slack else np.arange(n)
    return xy[chosen], columns * pitch[0], rows * pitch[1]
