"""Training samples for detection: windows of images at the scales used for prediction, alone or in mosaics of four."""

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
from remoteclip_jax.data.windows import crop_square, random_square, random_square_around, rounded_window


class TrainingSample(NamedTuple):
    """A window of an image with normalised boxes (cx, cy, w, h). `is_object` is False for boxes of crowds and difficult
    objects, which are ignored in training."""

    pixels: UInt8[np.ndarray, "s s 3"]
    boxes: Boxes
    labels: Int32[np.ndarray, " n"]
    is_object: Bool[np.ndarray, " n"]


RANDOM_WINDOW_SHARE = 0.5  # of the single windows, placed without regard to objects; most of an image is background
RANDOM_TILE_SHARE = 0.25  # the same for the tiles of a mosaic
RANDOM_CROP_SHARE = 0.3  # the same for object crops
NESTED_MOSAIC_SHARE = 0.85  # of a mosaic's tiles around an object that would fit a quarter: these become mosaics again
MAX_TILE_FILL = 0.75  # the object around which a tile is placed takes at most this share of its side
MIN_BOX_PIXELS = 4.0  # a clipped box is dropped if its shorter side is below
TRAINING_SLACK = 4 / 3  # of the size ranges of the views; wider than for prediction


@dataclass(frozen=True)
class SamplingConfig:
    """How training samples are cropped.

    A sample has `size` pixels a side. It is cropped from the image at the scale of one of its `views` (pixels of its
    longer side, ascending), times a factor of at most `jitter` up or down. `level` is the augmentation: "none", "flip"
    (the eight flips and quarter turns) or "full" (colours too). `mosaic` is the share of samples that are composed of
    four tiles.
    """

    size: int
    views: tuple[int, ...]
    jitter: float = 1.0
    level: str = "full"
    mosaic: float = 0.0


@dataclass(frozen=True)
class _ObjectRef:
    """An object, as the box `index` of its example."""

    example: Example
    index: int
    view: int  # the index of the view that it belongs to
    extent: float  # the longer side of its box, in units of the image's longer side


class _ClassObjects(NamedTuple):
    """The objects of a class, grouped by view, and the cumulative probabilities of the groups."""

    groups: list[list[_ObjectRef]]
    cumulative: Float64[np.ndarray, " g"]


class Sampler:
    """Draws random samples from a data set.

    Every class is drawn equally often (class-aware sampling, Shen et al. 2016), since an image may have one airport but
    dozens of cars. Within a class, a view is drawn in proportion to the square root of the number of its objects.
    """

    def __init__(self, dataset: Dataset, config: SamplingConfig) -> None:
        self.config, self._cache = config, ImageCache(config.views[-1], bands=dataset.bands)
        by_class: dict[int, dict[int, list[_ObjectRef]]] = {}  # then by view
        for example in dataset.examples:
            sides = example.boxes[:, 2:] * (example.width, example.height) / max(example.width, example.height)
            sizes = np.sqrt(sides.prod(-1))
            for view, (low, high) in enumerate(size_ranges(config.views, TRAINING_SLACK)):
                for j in np.flatnonzero((low <= sizes) & (sizes < high)):
                    ref = _ObjectRef(example, int(j), view, float(sides[j].max()))
                    by_class.setdefault(int(example.labels[j]), {}).setdefault(view, []).append(ref)
        self._classes = [_class_objects(views.values()) for views in by_class.values()]
        size = config.size
        self._classes_by_tile: dict[int, list[_ClassObjects]] = {}  # by the side of the tile in pixels
        for tile in (size, size // 2, size // 4):
            fitting = [
                _class_objects([ref for ref in group if self._fits(ref, tile)] for group in views.values())
                for views in by_class.values()
            ]
            self._classes_by_tile[tile] = [objects for objects in fitting if objects.groups]

    def sample(self, example: Example, rng: np.random.Generator) -> TrainingSample:
        """A training sample. `example` is the image whose turn it is; it provides the background."""
        size = self.config.size
        if rng.random() < self.config.mosaic:
            return self._mosaic(example, size // 2, rng)
        ref = None if rng.random() < RANDOM_WINDOW_SHARE else self._random_fitting_object(size, rng)
        return self._random_window(example, ref, size, rng)

    def object_crop(self, example: Example, size: int, rng: np.random.Generator) -> tuple[TrainingSample, int]:
        """A crop of `size` pixels that a single object largely fills, and its label; or a background crop of `example`
        without any object, and −1."""
        if rng.random() < RANDOM_CROP_SHARE:
            crop = self._random_window(example, None, size, rng)
            if not crop.is_object.any():
                return crop, -1
        ref = _random_object(self._classes, rng)
        crop = self._crop(ref.example, self._window_around(ref, size, rng), size)
        return crop, int(ref.example.labels[ref.index])

    def _mosaic(self, example: Example, size: int, rng: np.random.Generator) -> TrainingSample:
        """Four tiles of `size` pixels, each around an object of its own, or again a mosaic.

        After YOLOv4's mosaic (Bochkovskiy et al. 2020). But the tiles keep the scale used for prediction, and are
        hardly larger than their objects. So a small batch has many objects, and large objects from many images.
        """
        pixels = np.empty((2 * size, 2 * size, 3), np.uint8)
        boxes, labels, is_object = [], [], []
        for quarter in range(4):
            ref = None if rng.random() < RANDOM_TILE_SHARE else self._random_fitting_object(size, rng)
            may_nest = ref and self._classes_by_tile.get(size // 2) and self._fits(ref, size // 2)
            if may_nest and rng.random() < NESTED_MOSAIC_SHARE:
                tile = self._mosaic(example, size // 2, rng)
            else:
                tile = self._random_window(example, ref, size, rng)
            y, x = divmod(quarter, 2)
            pixels[y * size : (y + 1) * size, x * size : (x + 1) * size] = tile.pixels
            boxes.append(tile.boxes / 2 + np.array([x / 2, y / 2, 0, 0], np.float32))
            labels.append(tile.labels)
            is_object.append(tile.is_object)
        return TrainingSample(pixels, np.concatenate(boxes), np.concatenate(labels), np.concatenate(is_object))

    def _fits(self, ref: _ObjectRef, tile: int) -> bool:
        """Whether the object suits windows of `tile` pixels: its view fills them, and either it fits into them or, for
        the largest tile, the window may grow."""
        size, view = self.config.size, self.config.views[ref.view]
        fills = view >= tile or ref.view == len(self.config.views) - 1
        return fills and (tile == size or view <= tile or ref.extent * view <= MAX_TILE_FILL * tile)

    def _random_fitting_object(self, tile: int, rng: np.random.Generator) -> _ObjectRef | None:
        """An object that fits into windows of `tile` pixels; None if there is none."""
        return _random_object(self._classes_by_tile[tile], rng) if self._classes_by_tile[tile] else None

    def _random_window(
        self, example: Example, ref: _ObjectRef | None, size: int, rng: np.random.Generator
    ) -> TrainingSample:
        """A window of `size` pixels around the object `ref`, or, for None, anywhere in `example`.

        In the latter case a view is drawn in proportion to its size: a finer view has more background to learn.
        """
        if ref is not None:
            return self._crop(ref.example, self._window_around(ref, size, rng), size)
        views = np.array(self.config.views)
        weights = views * (views >= min(size, views[-1]))
        zoom = self._jittered_zoom(int(rng.choice(views, p=weights / weights.sum())), size, rng)
        return self._crop(example, random_square(example.width, example.height, zoom, rng), size)

    def _window_around(self, ref: _ObjectRef, size: int, rng: np.random.Generator) -> Window:
        example, zoom = ref.example, self._jittered_zoom(self.config.views[ref.view], size, rng)
        return random_square_around(example.boxes[ref.index], example.width, example.height, zoom, rng)

    def _jittered_zoom(self, view: int, size: int, rng: np.random.Generator) -> float:
        return view / size * math.exp(rng.uniform(-1, 1) * math.log(self.config.jitter))

    def _crop(self, example: Example, window: Window, size: int) -> TrainingSample:
        """The square `window` at `size` pixels, with the boxes that are kept in it."""
        needed = size * min(example.width, example.height) / (window.w * example.width)
        image = self._cache.read(example.image, at_least=round(needed))
        window = rounded_window(window, image.shape[1], image.shape[0])
        boxes, kept = crop_boxes(np.concatenate([example.boxes, example.ignored]), window)
        labels = np.concatenate([example.labels, example.ignored_labels])
        is_object = np.arange(len(labels)) < len(example.labels)
        # To be learned, an object needs enough of its area inside. For an ignored box any sliver is enough.
        kept &= boxes[:, 2:].min(-1, initial=1) * size >= MIN_BOX_PIXELS
        kept = np.where(is_object, kept, boxes[:, 2:].min(-1, initial=1) > 0)
        pixels = crop_square(image, window, size)
        return TrainingSample(pixels, boxes[kept], labels[kept], is_object[kept])


def _class_objects(groups: Iterable[list[_ObjectRef]]) -> _ClassObjects:
    nonempty = [group for group in groups if group]
    weights = np.sqrt([len(group) for group in nonempty])
    return _ClassObjects(nonempty, np.cumsum(weights) / weights.sum())


def _random_object(classes: list[_ClassObjects], rng: np.random.Generator) -> _ObjectRef:
    objects = classes[rng.integers(len(classes))]
    index = int(objects.cumulative.searchsorted(rng.random(), side="right"))
    group = objects.groups[min(index, len(objects.groups) - 1)]
    return group[rng.integers(len(group))]
