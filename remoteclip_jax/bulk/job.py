"""A prediction from settings to results on disk, as `python -m remoteclip_jax.predict` does it."""

import sys
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from remoteclip_jax.data.notes import Notes, utf8_name
from remoteclip_jax.errors import UserError, error_line
from remoteclip_jax.files.lock import exclusive_lock
from remoteclip_jax.printable import printable
from remoteclip_jax.tasks.detect.request import DetectionRequest, ReadyDetector, prepare_detector

from .parquet import check_parquet
from .ray_data import check_ray, predict_rows_with_ray
from .results import Results
from .rows import Row, add_notes, count_objects
from .settings import keep_settings, result_settings
from .shards import FORMATS

MOST_REPORTED = 5  # images that cannot be read, one by one; more are counted


@dataclass(frozen=True)
class PredictionJob:
    """What to look for, and where and how to write it.

    `output_format` and `shard_images` are those of the files of results. With `retry_errors`, images are tried again
    that could not be read before. `ray` is the address of a cluster, `workers` of whose processes predict in place of
    this one.
    """

    request: DetectionRequest
    output: Path
    output_format: str = FORMATS[0]
    shard_images: int = 1000
    batch_size: int | None = None
    retry_errors: bool = False
    ray: str | None = None
    workers: int = 1

    def check(self) -> None:
        """UserError for settings that cannot be, or need what is not installed. JAX is not loaded for this."""
        self.request.check()
        for name in ("shard_images", "workers", "batch_size"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserError(f"--{name}={value} must be at least 1")
        if self.output.exists() and not self.output.is_dir():
            raise UserError(f"--output={self.output} is a file, expected a folder")
        if self.output_format == "parquet":
            check_parquet()
        if self.ray is not None:
            check_ray()


@dataclass(frozen=True)
class Outcome:
    """What a start of the job did: `done` images of `total`, of which `failed`, now or before, could not be read; the
    `objects` found now, by class name; and the `seconds` that it took."""

    total: int
    done: int
    failed: int
    objects: Counter[str]
    seconds: float

    def summary(self) -> str:
        """One line for the screen."""
        if not self.done:
            return f"all {self.total} images were done before"
        objects = ", ".join(f"{n} {label}" for label, n in self.objects.most_common()) or "nothing found"
        return f"{self.done} images done, {self.done / self.seconds:.2f} images/s: {objects}"


def predict_images(job: PredictionJob, names: Sequence[str], notes: Notes) -> Outcome:
    """Predict in all images that have no result yet. `names` and `notes` are those of `find_images(job.images)`.

    Images that cannot be read are printed, and so is what was done before. When it is interrupted or killed, what was
    done is kept, and the next call goes on. UserError for whatever a user can fix.
    """
    import jax

    job.check()
    if job.ray is not None:
        jax.config.update("jax_platforms", "cpu")  # in this process: the devices are for the workers
    with exclusive_lock(job.output / ".lock", "predicting", "--output"):
        ready = prepare_detector(job.request)
        if ready.threshold_note:
            print(printable(ready.threshold_note), file=sys.stderr)
        settings, folder = result_settings(job.request, ready, job.output_format), job.output / "results"
        keep_settings(job.output / "predict.json", settings, begun=any(folder.glob("[0-9]*")))
        with Results(folder, job.output_format, job.shard_images, job.retry_errors) as results:
            remaining = [name for name in names if utf8_name(name) not in results.done]
            if len(remaining) < len(names):
                print(f"{len(names) - len(remaining)} of them were done before")
            if results.dropped:
                print(f"{results.dropped} results were cut off when the last process ended: they are made again")
            outcome = _predict(job, ready, remaining, len(names), results, notes)
            results.finish_shard()
    return outcome


def _predict(
    job: PredictionJob, ready: ReadyDetector, names: list[str], total: int, results: Results, notes: Notes
) -> Outcome:
    begin, reported, objects = time.monotonic(), 0, Counter[str]()
    with (
        closing(_rows(job, ready, names)) as rows,
        tqdm(total=total, initial=total - len(names), unit="image", disable=None) as bar,
    ):
        for row in rows:
            results.append(row)
            objects += count_objects(row)
            add_notes(row, notes)
            bar.update()
            if "error" in row:
                reported += 1
                if reported <= MOST_REPORTED:
                    tqdm.write(error_line(row["error"]), file=sys.stderr)
                elif reported == MOST_REPORTED + 1:
                    tqdm.write("further images that cannot be read are in the results", file=sys.stderr)
    return Outcome(total, len(names), results.failed, objects, time.monotonic() - begin)


def _rows(job: PredictionJob, ready: ReadyDetector, names: list[str]) -> Generator[Row, None, None]:
    from remoteclip_jax.detector.searching import default_batch_size

    from .prediction import predict_rows

    if not names:
        return
    if job.ray is not None:
        yield from predict_rows_with_ray(job.request, names, job.ray, job.workers, job.batch_size)
    else:
        yield from predict_rows(ready, names, job.batch_size or default_batch_size(ready.detector, len(names)))
