"""Detection in one image or in many, of any size: windows are seen in threads, predicted in batches on all local
devices, and what they show is merged."""

import dataclasses
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from PIL import Image
from tqdm import tqdm

from remoteclip_jax.clip.text_embeddings import TextEmbeddings
from remoteclip_jax.data.bands import note_raster
from remoteclip_jax.data.damage import BrokenImageError
from remoteclip_jax.data.georeference import read_georeference
from remoteclip_jax.data.image_inputs import ImageInput, as_pil_image
from remoteclip_jax.data.images import ImageHeader, open_image
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.stretch import Percentiles
from remoteclip_jax.data.tiling import SMALLEST_WINDOW, is_seen_whole, window_count
from remoteclip_jax.data.types import Bands
from remoteclip_jax.detector.batches import PredictedBatch, predicted_windows
from remoteclip_jax.detector.detections import Detections, check_max_detections
from remoteclip_jax.detector.inference import TrainedDetector, encode_prompts
from remoteclip_jax.detector.merging import Collection, kept_in_window
from remoteclip_jax.detector.seeing import Looking, SeenWindow, Source, seen_windows
from remoteclip_jax.detector.thresholds import thresholds_of
from remoteclip_jax.errors import UserError
from remoteclip_jax.runtime.background import in_advance

MOST_ON_CPU, MOST = 2, 8  # windows in a batch; on two cores, larger batches of the preset `small` are slower
MOST_PIXELS = 1024**2  # of the finest view, up to which batches are that large
MANY_WINDOWS = 50  # of an image, from which on it has a progress bar of its own
LARGE = 2048  # pixels; a larger image that is seen whole shows small objects too small


@dataclass(frozen=True)
class FoundImage:
    """An image file at `path` and what was found in it: `detections` in pixels of the upright image, best first.

    `picture` is that image as it will be drawn, perhaps reduced; None if no pictures were asked for. `damage` says what
    of the file could not be read, if it was searched in spite of that.
    """

    path: Path
    header: ImageHeader
    detections: Detections
    picture: Image.Image | None = None
    damage: UserError | None = None


def default_batch_size(detector: TrainedDetector, windows: int) -> int:
    """How many of this number of windows, or of small images, to predict at a time, on a device and in the detector's
    views."""
    most = MOST_ON_CPU if jax.default_backend() == "cpu" else MOST
    return 1 if windows == 1 else max(1, min(most, most * MOST_PIXELS // detector.views[-1] ** 2))


def number_of_windows(image: Path, detector: TrainedDetector) -> int:
    """The number of windows in which an image is searched, if it is not scaled by its ground sampling distance; 1 if it
    cannot be read."""
    try:
        with open_image(image) as opened:
            return window_count(*opened.header.size, detector.window)
    except UserError:
        return 1


def detect(
    detector: TrainedDetector,
    image: ImageInput,
    prompts: Sequence[str] | None = None,
    score_threshold: float | None = None,
    max_detections: int | None = None,
) -> Detections:
    """The objects in `image` that `prompts` name: boxes (x1, y1, x2, y2) in its pixels, scores in [0, 1], best first.

    `image` is the path of a file, a PIL image of any mode, or a uint8 array [height, width, 3] or [height, width]. A
    file is turned upright by its EXIF orientation; images and arrays are not (see `PIL.ImageOps.exif_transpose`).
    Prompts are words for things ("ship", "storage tank"); None means the classes of the run. Detections with a score
    below `score_threshold` are left out; None means the detector's own thresholds, by class where it has them, and
    otherwise 0.3. At most `max_detections` objects are found in a window; None means the detector's own number (300).
    UserError for an image that cannot be
    read, also for one that is damaged in parts, and for prompts that are empty, blank or repeated, or that this
    detector cannot encode.

    An image that is much larger than the detector's `window` is searched in overlapping windows of that side, so that
    its objects have the sizes that were learned (see `data.tiling`).
    """
    if max_detections is not None:
        check_max_detections(max_detections)
        detector = dataclasses.replace(detector, max_detections=max_detections)
    texts = encode_prompts(detector, prompts)
    source: Source = Path(image).expanduser() if isinstance(image, str | Path) else as_pil_image(image)
    found = find_in_images(detector, texts, [source], notes=Notes("images"), bands=detector.bands)
    with closing(found):
        for outcome in found:
            if isinstance(outcome, UserError):
                raise outcome
            if outcome.damage is not None:
                raise outcome.damage
            own = thresholds_of(detector.thresholds, texts.class_names, detector.novel_names(texts.class_names))
            return outcome.detections.above(own if score_threshold is None else score_threshold)
    raise AssertionError("an image has an outcome")


def find_in_images(
    detector: TrainedDetector,
    prompts: TextEmbeddings,
    images: Iterable[Source],
    *,
    notes: Notes,
    batch_size: int | None = None,
    bands: Bands | None = None,
    percentiles: Percentiles | None = None,
    gsd: float | None = None,
    least_score: float = 0.0,
    pictures: bool = False,
    progress: bool = False,
) -> Generator[FoundImage | UserError, None, None]:
    """What is found in each of `images`, in their order, or the error for an image that cannot be read.

    Large ones are searched in windows (see `data.tiling`): of the detector's `window` pixels, or, with a `gsd` in
    metres, of as much ground as such a window has if its pixels are that large. Detections with a score below
    `least_score` are forgotten at once, of which a large image has hundreds of thousands. `batch_size` windows are
    predicted at a time, on each of the local devices in turn. `notes` say how images were converted and looked at.
    `progress` shows a bar for images of many windows. A few batches are in memory at a time, and of a large image that
    can be read by parts, a few strips.
    """
    looking = Looking(detector.views, _window_side(detector.window, gsd), bands, percentiles, pictures)
    devices = jax.local_devices()
    batch_size = batch_size or 1
    with closing(seen_windows(images, looking, 2 * batch_size * len(devices))) as seen:
        # Batches are on their way to the devices before the results of those before them are fetched.
        parts = Collection(prompts.class_names)
        bar: tqdm[None] | None = None
        for item in in_advance(
            predicted_windows(detector, devices, prompts, seen, batch_size), batch_size * len(devices)
        ):
            if isinstance(item, UserError):
                yield item
                continue
            window, found, position = item
            if progress and window.windows >= MANY_WINDOWS and not parts:
                name = Path(str(window.source)).name
                bar = tqdm(total=window.windows, desc=name, unit="window", leave=False, disable=None)
            parts.add(_in_image(window, found, position, prompts.class_names, least_score))
            if bar is not None:
                bar.update()
            if window.is_last and isinstance(window.damage, BrokenImageError):
                yield window.damage
            elif window.is_last:
                _add_notes(window, detector, looking, notes)
                path = window.source if isinstance(window.source, Path) else Path()
                yield FoundImage(path, window.header, parts.merged(), window.picture, window.damage)
            if window.is_last:
                parts = Collection(prompts.class_names)
                if bar is not None:
                    bar.close()
                    bar = None


def _window_side(side: int | None, gsd: float | None) -> Callable[[Source, ImageHeader], int | None]:
    """The side of the windows of an image, in its own pixels. UserError if the size of its pixels on the ground is
    needed, but unknown."""

    def of_image(source: Source, header: ImageHeader) -> int | None:
        if side is None or gsd is None or not isinstance(source, Path):
            return side
        place = read_georeference(source, header.size, header.orientation)
        if isinstance(place, str) or place.gsd is None:
            reason = place if isinstance(place, str) else "its coordinates do not say"
            raise UserError(
                f"{source}: --gsd={gsd:g} needs the size of its pixels on the ground ({reason}); give --window=PIXELS"
            )
        return max(SMALLEST_WINDOW, round(side * gsd / place.gsd))

    return of_image


def _in_image(
    seen: SeenWindow, found: PredictedBatch | None, position: int, classes: tuple[str, ...], least_score: float
) -> Detections:
    """What a window keeps of its detections, in pixels of the image."""
    if found is None:
        nothing = np.zeros(0, np.float32)
        return Detections(nothing.reshape(0, 4), nothing, nothing.astype(np.int32), classes)
    window, (width, height) = seen.window, seen.header.size
    squares, scores, labels, valid = (np.asarray(array[position]) for array in found.arrays)
    corner = np.array([window.left, window.top] * 2, np.float32)
    limits = np.array([width, height] * 2, np.float32)
    valid = valid & (scores >= least_score)
    boxes = np.clip(squares[valid] * np.float32(window.side) + corner, 0, limits).astype(np.float32)
    keep = kept_in_window(window, boxes)
    scores, labels = scores[valid].astype(np.float32), labels[valid].astype(np.int32)
    return Detections(boxes[keep], scores[keep], labels[keep], classes)


def _add_notes(seen: SeenWindow, detector: TrainedDetector, looking: Looking, notes: Notes) -> None:
    """Say how an image was converted and looked at."""
    if not isinstance(seen.source, Path):
        return
    note_raster(seen.header, seen.source, looking.bands, notes, looking.percentiles)
    if seen.windows > 1:
        notes.add(f"large images searched in overlapping windows of {seen.finest} pixels", seen.source)
    elif max(seen.header.size) > LARGE and is_seen_whole(*seen.header.size, detector.window):
        notes.add(
            "large images looked at as a whole, in which small objects are hard to see (--window=PIXELS, the usual "
            "side of the training images, looks closer)",
            seen.source,
        )
