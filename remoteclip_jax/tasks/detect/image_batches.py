"""Detection in many image files, drawn and written in threads."""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from remoteclip_jax.clip.text_embeddings import TextEmbeddings
from remoteclip_jax.data.georeference import read_georeference
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.detector.inference import TrainedDetector
from remoteclip_jax.detector.searching import FoundImage, find_in_images
from remoteclip_jax.errors import UserError
from remoteclip_jax.results.files import files_of_all, note_place, write_image_files
from remoteclip_jax.results.image_result import ImageResult, ResultSettings
from remoteclip_jax.runtime.background import background_threads, in_advance

WRITTEN_AT_A_TIME = 16  # images that wait to be drawn
DEFAULT_RESULTS = ResultSettings()


def detect_in_files(
    detector: TrainedDetector,
    prompts: TextEmbeddings,
    images: Sequence[Path],
    outputs: Sequence[Path],
    *,
    threshold: float | Float[np.ndarray, " k"],
    notes: Notes,
    settings: ResultSettings = DEFAULT_RESULTS,
    **options: Any,
) -> Generator[Counter[str] | UserError, None, None]:
    """Write OUTPUT.jpg and the files of each format for each of `images`, and yield in their order the number of
    objects found, by class name, or the error for an image that cannot be read. An image that is damaged in parts has
    an error too, and its files.

    `outputs` are in one folder, which also gets the files that a format has for all images together. Detections with a
    score below `threshold`, one for all or one for each prompt, are left out. `notes` also say why images have no place
    on the map. `options` are the others of `find_in_images`.
    """
    found = find_in_images(
        detector, prompts, images, notes=notes, least_score=float(np.min(threshold)), pictures=True, **options
    )
    all_files = files_of_all(outputs[0].parent, settings, prompts.class_names)
    with background_threads() as pool, closing(found), all_files as add:

        def written() -> Iterator[tuple[UserError | None, Future[ImageResult] | None]]:
            for output, image in zip(outputs, found, strict=True):
                if isinstance(image, UserError):
                    yield image, None
                else:
                    yield image.damage, pool.submit(_write, output, image, threshold, settings)

        for error, future in in_advance(written(), WRITTEN_AT_A_TIME):
            counts: Counter[str] = Counter()
            if future is not None:
                result = future.result()
                add(result)
                note_place(result, settings, notes)
                counts.update(result.found.classes[label] for label in result.found.labels)
            yield error or counts


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
