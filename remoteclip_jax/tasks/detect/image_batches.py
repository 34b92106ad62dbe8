"""Detection in many image files, drawn and written in threads."""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

from remoteclip_jax.clip.text_embeddings import TextEmbeddings
from remoteclip_jax.detector.inference import TrainedDetector
from remoteclip_jax.detector.searching import FoundImage, find_in_images
from remoteclip_jax.errors import UserError
from remoteclip_jax.runtime.background import background_threads, in_advance

from .image_results import write_result

WRITTEN_AT_A_TIME = 16  # images that wait to be drawn


def detect_in_files(
    detector: TrainedDetector,
    prompts: TextEmbeddings,
    images: Sequence[Path],
    outputs: Sequence[Path],
    *,
    threshold: float,
    **options: Any,
) -> Generator[Counter[str] | UserError, None, None]:
    """Write OUTPUT.json and OUTPUT.jpg for each of `images`, and yield in their order the number of objects found, by
    class name, or the error for an image that cannot be read. One that is damaged in parts is written, and has an error
    too.

    Detections with a score below `threshold` are left out. `options` are those of `find_in_images`.
    """
    found = find_in_images(detector, prompts, images, pictures=True, **options)
    with background_threads() as pool, closing(found):

        def written() -> Iterator[Future[Counter[str] | UserError] | UserError]:
            for output, image in zip(outputs, found, strict=True):
                yield image if isinstance(image, UserError) else pool.submit(_write, output, image, threshold)

        for outcome in in_advance(written(), WRITTEN_AT_A_TIME):
            yield outcome if isinstance(outcome, UserError) else outcome.result()


def _write(output: Path, image: FoundImage, threshold: float) -> Counter[str] | UserError:
    assert image.picture is not None
    found = image.detections.above(threshold)
    counts = write_result(output, image.path, image.header.size, image.picture, found)
    return image.damage or counts
