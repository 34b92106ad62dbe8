"""Training samples for detection: windows of images at the scales at which they are predicted, alone or in fours."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int32, UInt8

from remoteclip_jax.data.cache import ImageCache
from remoteclip_jax.data.transforms import Boxes, Window, crop_boxes
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.data.views import size_ranges
from remoteclip_jax.data.windows import cut_square_for_training, random_square, square_around, whole_pixels


class Cut(NamedTuple):
    """A training sample. Boxes that are not `real` are of crowds and of difficult objects, of which nothing is to be
    learned."""

    pixels: UInt8[np.ndarray, "s s 3"]
    boxes: Boxes
    labels: Int32[np.ndarray, " n"]
    real: Bool[np.ndarray, " n"]


ANYWHERE = 0.5  # share of the single windows cut without regard to objects; most of an image is ground
TILES_ANYWHERE = 0.25  # the same of a mosaic's tiles
CLOSE_UPS_ANYWHERE = 0.3  # the same of the images of single objects
QUARTERED = 0.85  # share of a mosaic's tiles around objects, among those with room, that are quartered once more
TILE_FILLED = 0.75  # at most this share of a tile's side is the object that it is drawn around
SMALLEST = 4.0  # pixels; what is left of an object is a box no more when its shorter side is below
LEARNED = 4 / 3  # slack of the sizes that a view learns from, wider than when it predicts


@dataclass(frozen=True)
class Sampling:
    """How training samples are cut: `size` pixels a side, from the image at the scale of one of its `views` (pixels of
    its longer side, ascending) times a factor of at most `jitter` up or down, and changed as `level` says: "none",
    "flip" (the eight flips and quarter turns) or "full" (colours too). `mosaic` is the share of samples that are put
    together from four tiles."""

    size: int
    views: tuple[int, ...]
    jitter: float = 1.0
    level: str = "full"
    mosaic: float = 0.0


@dataclass(frozen=True)
class _Object:
    example: Example
    index: int
    view: int
    extent: float  # its longer side in units of the image's


class _Views(NamedTuple):
    """The objects of a class by view, and the likelihoods of those groups, added up."""

    groups: list[list[_Object]]
    cumulative: Float64[np.ndarray, " g"]


class Sampler:
    """Draws samples of a data set. Objects are drawn by class, each as often as any other (class-aware sampling, Shen
    et al. 2016), for an airport is one to an image and cars are dozens; those of a class by view, in proportion to the
    square root of their number there."""

    def __init__(self, dataset: Dataset, sampling: Sampling) -> None:
        self.sampling, self._cache = sampling, ImageCache(sampling.views[-1], bands=dataset.bands)
        groups: dict[int, dict[int, list[_Object]]] = {}  # by class and view
        for example in dataset.examples:
            sides = example.boxes[:, 2:] * (example.width, example.height) / max(example.width, example.height)
            sizes = np.sqrt(sides.prod(-1))
            for view, (low, high) in enumerate(size_ranges(sampling.views, LEARNED)):
                for j in np.flatnonzero((low <= sizes) & (sizes < high)):
                    own = _Object(example, int(j), view, float(sides[j].max()))
                    groups.setdefault(int(example.labels[j]), {}).setdefault(view, []).append(own)
        self._all = [_views(views.values()) for views in groups.values()]
        size = sampling.size
        self._groups: dict[int, list[_Views]] = {}  # by the side of the tile, then by class
        for tile in (size, size // 2, size // 4):
            fitting = [
                _views([x for x in group if self._fits(x, tile)] for group in views.values())
                for views in groups.values()
            ]
            self._groups[tile] = [views for views in fitting if views.groups]

    def close_up(self, example: Example, size: int, rng: np.random.Generator) -> tuple[Cut, int]:
        """One object that fills a good part of `size` pixels, and its label; or some ground of `example` without any,
        and −1."""
        if rng.random() < CLOSE_UPS_ANYWHERE:
            cut = self._window(example, None, size, rng)
            if not cut.real.any():
                return cut, -1
        drawn = _choose(self._all, rng)
        cut = self._cut(drawn.example, self._around(drawn, size, rng), size)
        return cut, int(drawn.example.labels[drawn.index])

    def draw(self, example: Example, rng: np.random.Generator) -> Cut:
        """A sample; `example` is the one whose turn it is, and the ground of it."""
        size = self.sampling.size
        if rng.random() < self.sampling.mosaic:
            return self._four(example, size // 2, rng)
        return self._window(example, None if rng.random() < ANYWHERE else self._object(size, rng), size, rng)

    def _four(self, example: Example, size: int, rng: np.random.Generator) -> Cut:
        """Four tiles of `size` pixels, each around an object of its own or again of four. After YOLOv4's mosaic
        (Bochkovskiy et al. 2020), but tiles keep the scale at which images are predicted, and are little larger than
        what they show: a small batch holds many objects, and the large ones of many whole images."""
        pixels = np.empty((2 * size, 2 * size, 3), np.uint8)
        boxes, labels, real = [], [], []
        for quarter in range(4):
            drawn = None if rng.random() < TILES_ANYWHERE else self._object(size, rng)
            if drawn and self._groups.get(size // 2) and self._fits(drawn, size // 2) and rng.random() < QUARTERED:
                tile = self._four(example, size // 2, rng)
            else:
                tile = self._window(example, drawn, size, rng)
            y, x = divmod(quarter, 2)
            pixels[y * size : (y + 1) * size, x * size : (x + 1) * size] = tile.pixels
            boxes.append(tile.boxes / 2 + np.array([x / 2, y / 2, 0, 0], np.float32))
            labels.append(tile.labels)
            real.append(tile.real)
        return Cut(pixels, np.concatenate(boxes), np.concatenate(labels), np.concatenate(real))

    def _fits(self, x: _Object, tile: int) -> bool:
        """Whether the object belongs into windows of `tile` pixels: its view fills them, and it fits into them or, for
        the largest, they may grow."""
        size, view = self.sampling.size, self.sampling.views[x.view]
        fills = view >= tile or x.view == len(self.sampling.views) - 1
        return fills and (tile == size or view <= tile or x.extent * view <= TILE_FILLED * tile)

    def _object(self, tile: int, rng: np.random.Generator) -> _Object | None:
        """One that fits into windows of `tile` pixels, None where no object does."""
        return _choose(self._groups[tile], rng) if self._groups[tile] else None

    def _window(self, example: Example, drawn: _Object | None, size: int, rng: np.random.Generator) -> Cut:
        """A window of `size` pixels around the drawn object; or anywhere in `example`, at a view in proportion to its
        size, for the finer the view the more ground there is in it to be known as such."""
        if drawn is not None:
            return self._cut(drawn.example, self._around(drawn, size, rng), size)
        views = np.array(self.sampling.views)
        weights = views * (views >= min(size, views[-1]))
        zoom = self._zoom(int(rng.choice(views, p=weights / weights.sum())), size, rng)
        return self._cut(example, random_square(example.width, example.height, zoom, rng), size)

    def _around(self, drawn: _Object, size: int, rng: np.random.Generator) -> Window:
        example, zoom = drawn.example, self._zoom(self.sampling.views[drawn.view], size, rng)
        return square_around(example.boxes[drawn.index], example.width, example.height, zoom, rng)

    def _zoom(self, view: int, size: int, rng: np.random.Generator) -> float:
        return view / size * math.exp(rng.uniform(-1, 1) * math.log(self.sampling.jitter))

    def _cut(self, example: Example, window: Window, size: int) -> Cut:
        """What is in a square `window` at `size` pixels, with the objects worth keeping."""
        needed = size * min(example.width, example.height) / (window.w * example.width)
        image = self._cache.read(example.image, at_least=round(needed))
        window = whole_pixels(window, image.shape[1], image.shape[0])
        boxes, kept = crop_boxes(np.concatenate([example.boxes, example.ignored]), window)
        labels = np.concatenate([example.labels, example.ignored_labels])
        real = np.arange(len(labels)) < len(example.labels)
        # Of an object a good part must be there to be learned, of an ignored one nothing but a glimpse to be ignored.
        kept &= boxes[:, 2:].min(-1, initial=1) * size >= SMALLEST
        kept = np.where(real, kept, boxes[:, 2:].min(-1, initial=1) > 0)
        return Cut(cut_square_for_training(image, window, size), boxes[kept], labels[kept], real[kept])


def _views(groups: Iterable[list[_Object]]) -> _Views:
    kept = [group for group in groups if group]
    weights = np.sqrt([len(group) for group in kept])
    return _Views(kept, np.cumsum(weights) / weights.sum())


def _choose(classes: list[_Views], rng: np.random.Generator) -> _Object:
    views = classes[rng.integers(len(classes))]
    group = views.groups[min(int(views.cumulative.searchsorted(rng.random(), side="right")), len(views.groups) - 1)]
    return group[rng.integers(len(group))]
