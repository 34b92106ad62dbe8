"""Detection in many image files: read ahead in threads, predicted in batches, drawn and written in threads."""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from remoteclip_jax.clip.text_embeddings import TextEmbeddings
from remoteclip_jax.data.bands import note_raster
from remoteclip_jax.data.georeference import read_georeference
from remoteclip_jax.data.images import ImageHeader, open_image
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.types import Bands
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.detector.inference import TrainedDetector, find_in_squares, image_squares
from remoteclip_jax.detector.postprocess import BatchDetections, to_detections
from remoteclip_jax.errors import UserError
from remoteclip_jax.evaluation.draw import MAX_SIDE, reduced
from remoteclip_jax.results.files import files_of_all, note_place, write_image_files
from remoteclip_jax.results.image_result import ImageResult, ResultSettings
from remoteclip_jax.runtime.background import Allowance, background_threads, in_advance

MOST_ON_CPU, MOST = 2, 8  # images in a batch; on two cores, larger batches of the preset `small` are slower
MOST_PIXELS = 1024**2  # of the finest view, up to which batches are that large
DEFAULT_RESULTS = ResultSettings()
PIXELS_AT_A_TIME = 100_000_000  # being decoded by all threads together; a larger image is decoded alone


@dataclass(frozen=True)
class LoadedImage:
    """An image file as the detector sees it, and as it will be drawn: `picture` is reduced if it is large."""

    path: Path
    header: ImageHeader
    squares: list[UInt8[np.ndarray, "_ _ 3"]]
    picture: Image.Image | None


@dataclass(frozen=True)
class FoundImage:
    """An image file at `path`, and what was found in it: `detections` in pixels of the upright image, best first.
    `picture` is that image as it will be drawn, perhaps reduced; None if no pictures were asked for."""

    path: Path
    header: ImageHeader
    detections: Detections
    picture: Image.Image | None


def default_batch_size(detector: TrainedDetector, images: int) -> int:
    """How many of this number of images to predict at a time, on this device and in the detector's views."""
    most = MOST_ON_CPU if jax.default_backend() == "cpu" else MOST
    return 1 if images == 1 else max(1, min(most, most * MOST_PIXELS // detector.views[-1] ** 2))


def detect_in_files(
    detector: TrainedDetector,
    prompts: TextEmbeddings,
    images: Sequence[Path],
    outputs: Sequence[Path],
    *,
    threshold: float | Float[np.ndarray, " k"],
    bands: Bands | None,
    notes: Notes,
    batch_size: int,
    settings: ResultSettings = DEFAULT_RESULTS,
) -> Generator[Counter[str] | UserError, None, None]:
    """Write OUTPUT.jpg and the files of each format for each of `images`, and yield in their order the number of
    objects found, by class name, or the error for an image that cannot be read.

    `outputs` are in one folder, which also gets the files that a format has for all images together. Detections with a
    score below `threshold`, one for all or one for each prompt, are left out. `notes` also say why images have no place
    on the map. The other arguments are those of `find_in_files`.
    """
    found = find_in_files(detector, prompts, images, bands=bands, notes=notes, batch_size=batch_size, pictures=True)
    all_files = files_of_all(outputs[0].parent, settings, prompts.class_names)
    with background_threads() as pool, closing(found), all_files as add:

        def written() -> Iterator[Future[ImageResult] | UserError]:
            for output, image in zip(outputs, found, strict=True):
                yield image if isinstance(image, UserError) else pool.submit(_write, output, image, threshold, settings)

        for outcome in in_advance(written(), 2 * batch_size):
            if isinstance(outcome, UserError):
                yield outcome
            else:
                result = outcome.result()
                add(result)
                note_place(result, settings, notes)
                yield Counter(result.found.classes[label] for label in result.found.labels)


def find_in_files(
    detector: TrainedDetector,
    prompts: TextEmbeddings,
    images: Iterable[Path],
    *,
    bands: Bands | None,
    notes: Notes,
    batch_size: int,
    pictures: bool = False,
) -> Generator[FoundImage | UserError, None, None]:
    """What is found in each of `images`, in their order, or the error for an image that cannot be read.

    `notes` say how images of more than three bands or more than eight bits were converted. At most seven batches are in
    memory at a time, their images no larger than they are drawn; of the images themselves, as many are decoded at a
    time as `PIXELS_AT_A_TIME` allows.
    """
    with background_threads() as pool, closing(Allowance(PIXELS_AT_A_TIME)) as decoding:
        loading = (pool.submit(_load, path, detector, bands, decoding, pictures) for path in images)
        loaded = (future.result() for future in in_advance(loading, 2 * batch_size))
        # A batch is on its way to the device before the results of the one before it are fetched.
        for outcome in in_advance(_predict(detector, prompts, loaded, batch_size), batch_size):
            if isinstance(outcome, UserError):
                yield outcome
            else:
                image, found, position = outcome
                note_raster(image.header, image.path, bands, notes)
                detections = to_detections(found, position, *image.header.size, prompts.class_names)
                yield FoundImage(image.path, image.header, detections, image.picture)


def _load(
    path: Path, detector: TrainedDetector, bands: Bands | None, decoding: Allowance, pictures: bool
) -> LoadedImage | UserError:
    try:
        with open_image(path, bands) as image:
            width, height = image.header.size
            with decoding.use(width * height):
                # A huge JPEG is decoded at a fraction of its size: enough for the detector and for the picture.
                side = max(MAX_SIDE, detector.views[-1]) * min(width, height) / max(width, height)
                pixels = image.read(at_least=max(1, round(side)))
                picture = reduced(pixels) if pictures else None
                return LoadedImage(path, image.header, image_squares(detector, pixels), picture)
    except UserError as e:
        return e


def _predict(
    detector: TrainedDetector, prompts: TextEmbeddings, loaded: Iterator[LoadedImage | UserError], batch_size: int
) -> Iterator[tuple[LoadedImage, BatchDetections, int] | UserError]:
    """Each image with the detections of its batch and its position there. Batches are filled up, so that one program is
    compiled."""
    while batch := list(islice(loaded, batch_size)):
        squares = [image.squares for image in batch if isinstance(image, LoadedImage)]
        if squares:
            squares += squares[-1:] * (batch_size - len(squares))
            found = find_in_squares(detector, [np.stack(view) for view in zip(*squares, strict=True)], prompts)
        position = 0
        for image in batch:
            if isinstance(image, UserError):
                yield image
            else:
                yield image, found, position
                position += 1


def _write(
    output: Path, image: FoundImage, threshold: float | Float[np.ndarray, " k"], settings: ResultSettings
) -> ImageResult:
    assert image.picture is not None
    size, place = image.header.size, None
    if settings.wants_place:
        place = read_georeference(image.path, size, image.header.orientation)
    result = ImageResult(image.path, *size, image.detections.above(threshold), place, settings.native)
    write_image_files(output, result, image.picture, settings)
    return result
