"""What is timed: the training step of `train.py`, and inference. Both have random weights."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from remoteclip_jax.clip.config import architecture
from remoteclip_jax.clip.inference import RemoteCLIP, encode_image
from remoteclip_jax.clip.model import Variables, init
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.detector.postprocess import find_objects
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.data import RunData
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.splits import check_batches
from remoteclip_jax.runtime.devices import AXIS, parallel, replicate, split_batch
from remoteclip_jax.tasks.align import workload as align_workload
from remoteclip_jax.tasks.configuration import new_config
from remoteclip_jax.tasks.detect import workload as detect_workload
from remoteclip_jax.tasks.detect.config import DetectConfig
from remoteclip_jax.tasks.registry import find_task
from remoteclip_jax.training.state import TrainState, create_state
from remoteclip_jax.training.step import make_train_step
from remoteclip_jax.training.stream import BatchStream
from remoteclip_jax.training.workload import Batch, MakeBatches, Workload

WORKLOADS: dict[str, Any] = {"align": align_workload, "detect": detect_workload}
SYNTHETIC_IMAGES = 64  # if no data are given


@dataclass(frozen=True, eq=False)
class Case:
    """A training as `train.py` runs it. `batch` is one of its batches, with random pixels, on the device."""

    config: TrainConfig
    data: RunData
    clip: RemoteCLIP
    texts: Float[Array, "k e"]
    workload: Workload
    variables: Variables
    variables_seconds: float  # to make them, from nothing
    step: Any  # pmapped
    step_on_one_device: Callable[[TrainState, Batch], Any]  # what is mapped over the devices
    batch: Batch

    def new_batches(self) -> MakeBatches:
        """A new input pipeline of the task on the host, which has not decoded any image yet."""
        return WORKLOADS[self.config.task].make_batches(self.config, self.data.train)

    def new_state(self) -> TrainState:
        """A new state before the first step, on all devices."""
        return replicate(self._first_state(self.variables))

    def _first_state(self, variables: Variables) -> TrainState:
        return create_state(variables, self.config, self.workload.rules, total_steps=10**6)

    def batch_shapes(self, batch_size: int) -> Batch:
        """The shapes of a batch of this size, divided among the devices like `batch`."""

        def resized(x: Array) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((len(x), batch_size // len(x), *x.shape[2:]), x.dtype)

        return {name: resized(x) for name, x in self.batch.items()}

    def one_device_shapes(self) -> tuple[TrainState, Batch]:
        """The shapes of the arguments of `step_on_one_device`: the state, and one device's share of the batch."""
        share = {name: jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for name, x in self.batch.items()}
        return jax.eval_shape(self._first_state, self.variables), share


def make_case(settings: dict[str, Any], run: RunDirectory) -> Case:
    """The case of a training with these settings (see `tasks.configuration.new_config`). If they name no data, a few
    synthetic images are made in `run`. UserError as for `train.py`."""
    counts: dict[str, Any] = {"synthetic_train": SYNTHETIC_IMAGES, "synthetic_val": 1, "synthetic_test": 0}
    accelerator = jax.default_backend() != "cpu"
    if accelerator and settings["task"] == "detect":
        counts["preset"] = "dior"  # what a GPU trains from RemoteCLIP's weights; random ones take as long
    config = new_config({**counts, **settings}, accelerator)
    data = find_task(config.task).read(config, run)
    check_batches(config, data)
    shape = architecture(config.arch)
    clip = RemoteCLIP(shape, init(shape, jax.random.key(config.seed), text_tower=False), config.dtype)
    texts = np.random.default_rng(0).normal(size=(len(data.classes), shape.embed_dim)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    workload = WORKLOADS[config.task].make_workload(config, run, clip, jnp.asarray(texts), data)
    begin = time.perf_counter()
    variables = jax.block_until_ready(workload.variables())
    seconds = time.perf_counter() - begin
    step = make_train_step(workload.loss, config, workload.rules, AXIS)
    return Case(
        config,
        data,
        clip,
        jnp.asarray(texts),
        workload,
        variables,
        seconds,
        parallel(step, donate_first=True),
        step,
        split_batch(_batch_with_random_pixels(WORKLOADS[config.task].make_batches(config, data.train))),
    )


def _batch_with_random_pixels(make_batches: MakeBatches) -> Batch:
    """A batch of the task with its images replaced by noise."""
    batches = make_batches(0, 0)
    batch = next(batches)
    batches.close()
    return {**batch, "image": np.random.default_rng(0).integers(0, 256, batch["image"].shape, np.uint8)}


class Trainer:
    """Trains a case, step by step. `step` is the compiled step of the case."""

    def __init__(self, case: Case, step: Any) -> None:
        self._step, self._state = step, case.new_state()
        self._batch = case.batch
        self._stream = BatchStream(case.workload, 0, 0)

    def random_step(self) -> dict[str, Array]:
        """Do one step on the random batch, which is already on the device. Returns the metrics."""
        return self._train(self._batch)

    def real_step(self) -> dict[str, Array]:
        """Do one step on the next batch, which comes as in training. Returns the metrics."""
        metrics = self._train(next(self._stream))
        self._stream.read_ahead()
        return metrics

    def _train(self, batch: Batch) -> dict[str, Array]:
        self._state, metrics = self._step(self._state, batch)
        return dict(metrics)

    def close(self) -> None:
        self._stream.close()


def inference_call(case: Case, batch_size: int) -> Callable[[], Any]:
    """A function that runs inference on `batch_size` random images: image embeddings, or detections at the run's
    views."""
    rng, config = np.random.default_rng(0), case.config
    if not isinstance(config, DetectConfig):
        size = config.image_size
        images = rng.normal(size=(batch_size, size, size, 3)).astype(np.float32)
        return lambda: encode_image(case.clip, jnp.asarray(images))
    model = Detector(case.clip.config, config.detector, dtype=jnp.dtype(config.dtype))
    views = [rng.integers(0, 256, (batch_size, v, v, 3), np.uint8) for v in config.views]

    @jax.jit
    def detect(variables: Any, views: Any, texts: Any) -> Any:
        return find_objects(model, variables, views, texts, count=config.max_detections)

    return lambda: detect(case.variables, views, case.texts)
