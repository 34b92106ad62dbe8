"""The windows of many images as a detector sees them: images are opened, decoded and resized in threads, in advance.

A small image is one window. A large one is read strip by strip, and its windows are cut from these, so that little of
it is in memory at a time.
"""

import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from remoteclip_jax.data.image_inputs import as_pil_image
from remoteclip_jax.data.images import ImageHeader, to_rgb
from remoteclip_jax.data.parts import open_parts
from remoteclip_jax.data.pictures import MAX_SIDE, reduced
from remoteclip_jax.data.stretch import Percentiles
from remoteclip_jax.data.strips import DecodedImage, PartialImage, Strip
from remoteclip_jax.data.tiling import SceneWindow, WindowRow, window_rows
from remoteclip_jax.data.types import Bands
from remoteclip_jax.data.windows import window_pyramid
from remoteclip_jax.errors import UserError
from remoteclip_jax.runtime.background import Allowance, background_threads, in_advance

PIXELS_AT_A_TIME = 100_000_000  # decoded by all threads together; a larger image is decoded alone

Source = Path | Image.Image


@dataclass(frozen=True)
class Looking:
    """How images are looked at: in a square of each of the sizes `views`, cut into windows of `side(source, header)`
    pixels (None: whole). `bands` and `percentiles` are those of `data.images.open_image`. With `pictures`, they are
    kept to be drawn."""

    views: tuple[int, ...]
    side: Callable[[Source, ImageHeader], int | None]
    bands: Bands | None = None
    percentiles: Percentiles | None = None
    pictures: bool = False


@dataclass(frozen=True)
class SeenWindow:
    """A window of an image, and what the detector sees in it; no `squares` if there is nothing but black.

    `windows` is the number of windows of the image, the smallest of which have a side of `finest` pixels; the last of
    them has its `picture`, and the `damage` of its file.
    """

    source: Source
    header: ImageHeader
    window: SceneWindow
    squares: list[UInt8[np.ndarray, "_ _ 3"]] | None
    windows: int = 1
    finest: int = 0
    is_last: bool = True
    picture: Image.Image | None = None
    damage: UserError | None = None


@dataclass(frozen=True)
class _OpenScene:
    """A large image that is open; `opened` holds its file."""

    source: Source
    image: DecodedImage | PartialImage
    rows: list[WindowRow]
    opened: ExitStack


@dataclass(frozen=True)
class _Postponed:
    """A large image that will be in memory as a whole, and is decoded when its windows are needed."""

    source: Source


def seen_windows(
    images: Iterable[Source], looking: Looking, ahead: int
) -> Generator[SeenWindow | UserError, None, None]:
    """The windows of each of `images`, in order; or the error for an image that cannot be read.

    Of small images, and of windows of a large one, `ahead` are ready before they are needed. As many small images are
    decoded at a time as `PIXELS_AT_A_TIME` allows; large ones that must be decoded as a whole, when it is their turn.
    """
    with background_threads() as openers, background_threads() as cutters, closing(Allowance(PIXELS_AT_A_TIME)) as room:
        opening = (openers.submit(_open, source, looking, room.use) for source in images)
        for future in in_advance(opening, ahead):
            opened = future.result()
            if isinstance(opened, _Postponed):
                opened = cutters.submit(_open, opened.source, looking, None).result()
            if isinstance(opened, _OpenScene):
                with opened.opened, ThreadPoolExecutor(1) as reader:
                    windows = in_advance(_cut_windows(opened, looking, reader, cutters), ahead)
                    yield from (window.result() for window in windows)
            else:
                assert not isinstance(opened, _Postponed)  # that was its turn
                yield opened


def _open(
    source: Source, looking: Looking, allowed: Callable[[int], AbstractContextManager[None]] | None
) -> SeenWindow | _OpenScene | _Postponed | UserError:
    """The image as its only window, or open, if there are several. For `allowed` see `open_parts`."""
    try:
        with ExitStack() as stack:
            side = partial(looking.side, source)
            image: DecodedImage | PartialImage | None
            if isinstance(source, Path):
                at_least = _enough(looking)
                parts = open_parts(source, side, at_least, looking.bands, looking.percentiles, allowed)
                image = stack.enter_context(parts)
                if image is None:
                    return _Postponed(source)
            else:
                image = DecodedImage(ImageHeader(source.size, 1, 3), _rgb(source))
            rows = list(window_rows(*image.header.size, side(image.header)))
            if len(rows) > 1 or isinstance(image, PartialImage):
                return _OpenScene(source, image, rows, stack.pop_all())
            scene = _OpenScene(source, image, rows, stack)
            return _see(scene, rows[0].windows[0], image.strip(0, image.header.size[1], 1), looking)
    except UserError as e:
        return e


def _enough(looking: Looking) -> Callable[[int, int], int]:
    """The shorter side at which an image that is seen whole is decoded: enough for the detector and for the picture."""

    def shorter_side(width: int, height: int) -> int:
        longer = max(MAX_SIDE, looking.views[-1]) if looking.pictures else looking.views[-1]
        return max(1, round(longer * min(width, height) / max(width, height)))

    return shorter_side


def _cut_windows(
    scene: _OpenScene, looking: Looking, reader: ThreadPoolExecutor, cutters: ThreadPoolExecutor
) -> Iterator[Future[SeenWindow]]:
    """The windows of a large image, each being cut from its strip. The next strip is read at the same time."""
    before: list[Strip] = []

    def read(row: WindowRow) -> Strip:
        reduce, bottom = _reduction(row, looking), min(row.top + row.side, scene.image.header.size[1])
        strip = scene.image.strip(row.top, bottom, reduce, before.pop() if before else None)
        before.append(strip)
        return strip

    for row, strip in in_advance(((row, reader.submit(read, row)) for row in scene.rows), 1):
        pixels = strip.result()
        for window in row.windows:
            yield cutters.submit(_see, scene, window, pixels, looking)


def _reduction(row: WindowRow, looking: Looking) -> int:
    """How many pixels of a window become one while it is read: a power of two that leaves enough for all views."""
    needed = max(MAX_SIDE, looking.views[-1]) if row.windows[-1].is_whole else looking.views[-1]
    reduce = 1
    while row.side >= 2 * reduce * needed:
        reduce *= 2
    return reduce


def _see(scene: _OpenScene, window: SceneWindow, strip: Strip, looking: Looking) -> SeenWindow:
    part, inside = strip.cut(window)
    count = sum(len(row.windows) for row in scene.rows)
    seen = SeenWindow(scene.source, scene.image.header, window, None, count, scene.rows[0].side, window.is_whole)
    if window.is_whole or part.getbbox() is not None:  # None: all is black
        seen = dataclasses.replace(seen, squares=window_pyramid(part, inside, looking.views))
    if window.is_whole:
        damage = scene.image.damage(scene.source) if isinstance(scene.source, Path) else None
        seen = dataclasses.replace(seen, picture=reduced(part) if looking.pictures else None, damage=damage)
    return seen


def _rgb(image: Image.Image) -> Image.Image:
    """`image` in RGB. An RGB image is not copied: it may have hundreds of megapixels."""
    image = as_pil_image(image)
    if image.mode == "RGB":
        return image
    return to_rgb(image.copy() if "transparency" in image.info else image)  # it would remove that entry
