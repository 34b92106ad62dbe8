"""Writing the files: of each image as soon as it is done, and of all images at the end."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from remoteclip_jax.data.georeference import MAP_EXTENSIONS, Georeference
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.evaluation.draw import draw
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.results.formats import FORMATS
from remoteclip_jax.results.image_result import ImageResult, ResultSettings

PARTIAL_SECONDS = 60.0  # between two writings of what was found so far
PARTIAL_SHARE = 0.02  # of the time, at most, that goes into these


def write_image_files(output: Path, result: ImageResult, picture: Image.Image, settings: ResultSettings) -> None:
    """Write OUTPUT.jpg, with the detections drawn on `picture`, which is the image, perhaps reduced; and OUTPUT with
    the extension of each format. GeoJSON is left out for an image without a place on Earth, but not without JSON."""
    drawn = draw(picture, result.found.scaled(picture.width / result.width))
    write_atomically(output.with_name(output.name + ".jpg"), lambda file: drawn.save(file, "JPEG", quality=90))
    formats = list(settings.formats)
    if "geojson" in formats and not isinstance(result.place, Georeference):
        formats = list(dict.fromkeys("json" if name == "geojson" else name for name in formats))
    for name in formats:
        if (each := FORMATS[name].each) is not None:
            extension, text = each
            write_atomically(output.with_name(output.name + extension), text(result))


@contextlib.contextmanager
def files_of_all(
    folder: Path, settings: ResultSettings, classes: Sequence[str]
) -> Iterator[Callable[[ImageResult], None]]:
    """A function that is to be given the result of each image, in order. The files of all images are written into
    `folder` at the end of the block.

    Before that, and if an error or an interrupt ends the block, NAME.partial.EXTENSION has the results so far.
    """
    formats = [FORMATS[name] for name in settings.formats]
    for name, classes_text in (one.once for one in formats if one.once):
        write_atomically(folder / name, classes_text(classes))
    every = [one.every for one in formats if one.every]
    results: list[ImageResult] = []

    def write(path: Callable[[str], Path]) -> float:
        """The time after which to write again."""
        start = time.monotonic()
        for name, text in every:
            write_atomically(path(name), text(results, classes))
        end = time.monotonic()
        return end + max(PARTIAL_SECONDS, (end - start) / PARTIAL_SHARE)

    def partial(name: str) -> Path:
        stem, dot, extension = name.partition(".")
        return folder / f"{stem}.partial{dot}{extension}"

    due = time.monotonic() + PARTIAL_SECONDS

    def add(result: ImageResult) -> None:
        nonlocal due
        if every:
            results.append(result)
            if time.monotonic() > due:
                due = write(partial)

    try:
        yield add
    except BaseException:
        if results:
            write(partial)
        raise
    write(lambda name: folder / name)
    for name, _ in every:
        partial(name).unlink(missing_ok=True)


def note_place(result: ImageResult, settings: ResultSettings, notes: Notes) -> None:
    """Add to `notes` why there are no coordinates, if the user asked for them, or if the image is of a format in which
    they are common."""
    geojson = "geojson" in settings.formats
    expected = (geojson and settings.named) or result.image.suffix.lower() in MAP_EXTENSIONS
    if isinstance(result.place, str) and expected:
        instead = " (JSON in its place)" if geojson and "json" not in settings.formats else ""
        what = f"GeoJSON{instead}" if geojson else "longitude and latitude"
        notes.add(f"without {what}: {result.place}", result.image)
    if isinstance(result.place, Georeference) and result.native and result.place.code is None:
        notes.add("with GeoJSON in WGS 84: their own reference system has no code", result.image)
