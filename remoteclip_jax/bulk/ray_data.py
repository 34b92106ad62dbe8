"""Prediction by the workers of a Ray cluster, with Ray Data. `DetectorActor` serves pipelines of your own too:

    ds = ray.data.from_items([{"image": path} for path in paths])
    request = DetectionRequest(workdir="runs/mine", prompts=("ship",))
    ds = ds.map_batches(DetectorActor, fn_constructor_args=(request,), num_gpus=1, batch_size=64,
                        compute=ray.data.ActorPoolStrategy(size=4))
    ds.write_parquet("s3://bucket/results")

The workers see the run and the images under the same paths: on a shared file system, or by URL.
"""

import importlib.util
import logging
import os
import socket
import warnings
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from remoteclip_jax.errors import UserError
from remoteclip_jax.tasks.detect.request import DetectionRequest, prepare_detector

from .parquet import from_table, to_table
from .rows import Row

if TYPE_CHECKING:
    import pyarrow

MOST_IN_A_TASK = 64  # images; the fewer there are, the less a worker's end loses
SECONDS_TO_ANSWER = 20
TASKS_OF_A_WORKER = 4  # at least, so that fast ones can do more


class DetectorActor:
    """A worker for `ray.data.Dataset.map_batches`: it loads the detector once, and maps batches of images to rows."""

    def __init__(self, request: DetectionRequest, batch_size: int | None = None) -> None:
        """UserError if the detector cannot be loaded. By default, `batch_size` follows from this worker's device."""
        from remoteclip_jax.detector.searching import default_batch_size
        from remoteclip_jax.runtime.compilation import enable_compilation_cache
        from remoteclip_jax.runtime.memory import keep_freed_memory

        keep_freed_memory()
        enable_compilation_cache()
        self._ready = prepare_detector(request)
        self._batch_size = batch_size or default_batch_size(self._ready.detector, 2)

    def __call__(self, batch: dict[str, np.ndarray]) -> "pyarrow.Table":
        """From the column `image`, of paths and URLs, to a table with the columns of `parquet.parquet_schema`."""
        from .prediction import predict_rows

        names = [str(name) for name in batch["image"]]
        with closing(predict_rows(self._ready, names, self._batch_size)) as rows:
            return to_table(list(rows))


def check_ray() -> None:
    """UserError if Ray Data is not installed."""
    if any(importlib.util.find_spec(name) is None for name in ("ray", "pyarrow")):
        raise UserError("--ray needs Ray Data: pip install 'remoteclip-jax[ray]'")


def predict_rows_with_ray(
    request: DetectionRequest, names: Sequence[str], address: str, workers: int, batch_size: int | None
) -> Generator[Row, None, None]:
    """The row of each image, in any order, from `workers` processes, each with a GPU if the cluster has any.

    `address` is that of a cluster, "auto" for the one that this machine belongs to, or "local" for one on this machine
    that ends with this generator. The images of a worker that dies are given to another one. UserError if there is no
    cluster, or if workers keep dying.
    """
    import ray

    _connect(address, workers)
    try:
        size = max(1, min(MOST_IN_A_TASK, len(names) // (TASKS_OF_A_WORKER * workers)))
        images = ray.data.from_items([{"image": name} for name in names], override_num_blocks=-(-len(names) // size))
        rows = images.map_batches(
            DetectorActor,
            fn_constructor_args=(request, batch_size),
            batch_size=size,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_gpus=1 if ray.cluster_resources().get("GPU") else None,
        )
        for table in rows.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from from_table(table)
    except ray.exceptions.RayError as e:
        raise _user_error(e) from e
    finally:
        ray.shutdown()


def _connect(address: str, workers: int) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else a local cluster would report on its use
    try:
        _check_reachable(address)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"os\.fork\(\)")  # JAX's; another program follows each fork here
            if address == "local":
                count = max(workers, os.cpu_count() or 1)
                ray.init(address="local", num_cpus=count, include_dashboard=False, **quiet)
            else:
                ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as e:
        raise UserError(
            f"--ray={address}: no cluster there ({' '.join(str(e).split())}); start one with `ray start --head`, or "
            f"choose --ray=local"
        ) from None
    ray.data.DataContext.get_current().enable_progress_bars = False  # the command has its own
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are raised, too


def _check_reachable(address: str) -> None:
    """OSError if nothing answers at an address such as `head:6379` or `ray://head:10001`: Ray would try for minutes."""
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if separator and port.isdigit():
        socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()


def _user_error(error: Exception) -> Exception:
    """What went wrong in a worker or in the cluster, in one line; `error` itself if it is a defect of the program."""
    *_, last = (line for line in str(error).splitlines() if line.strip())
    prefix = f"{UserError.__module__}.{UserError.__name__}: "
    if last.startswith(prefix):
        return UserError(f"in a worker of Ray: {last.removeprefix(prefix)}")
    import ray

    return error if isinstance(error, ray.exceptions.RayTaskError) else UserError(f"Ray: {last}")
