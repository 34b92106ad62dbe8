"""What is timed: the very training step of `train.py`, and inference, on random weights."""

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
from remoteclip_jax.runs.config import TrainConfig, new_config
from remoteclip_jax.runs.data import Data
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.setup import check_batches, prepare_data
from remoteclip_jax.runtime.devices import AXIS, parallel, replicate, split_batch
from remoteclip_jax.training import align, detect
from remoteclip_jax.training.loop import TASKS
from remoteclip_jax.training.optimizer import make_optimizer, make_schedule
from remoteclip_jax.training.state import TrainState, create_state
from remoteclip_jax.training.step import make_train_step
from remoteclip_jax.training.workload import Batch, MakeBatches, Task

INPUTS = {"align": align.make_batches, "detect": detect.make_batches}
DRAWN = 64  # images, where no data are given
INFERENCE_BATCHES = {"align": (1, 32), "detect": (1,)}


@dataclass(frozen=True, eq=False)
class Case:
    """A training as `train.py` would run it; `batch` is one of its batches with random pixels, on the device."""

    config: TrainConfig
    data: Data
    clip: RemoteCLIP
    texts: Float[Array, "k e"]
    task: Task
    variables: Variables
    step: Any  # pmapped
    batch: Batch

    def new_batches(self) -> MakeBatches:
        """The task's input pipeline, with nothing decoded yet."""
        return INPUTS[self.config.task](self.config, self.data.train)

    def new_state(self) -> TrainState:
        config = self.config
        state = create_state(self.variables, make_optimizer(config), 10**6, config.ema > 0, config.seed)
        return replicate(state)


def make_case(settings: dict[str, Any], run: RunDirectory) -> Case:
    """The case of the settings of a `TrainConfig`; draws data into `run` where they name none. UserError as from
    `train.py`."""
    counts = {"draw_train": DRAWN, "draw_val": 1, "draw_test": 0}
    config = new_config({**counts, **settings}, accelerator=jax.default_backend() != "cpu")
    data = prepare_data(config, run)
    check_batches(config, data)
    shape = architecture(config.arch)
    clip = RemoteCLIP(shape, init(shape, jax.random.key(config.seed), text_tower=False), config.dtype)
    texts = np.random.default_rng(0).normal(size=(len(data.classes), shape.embed_dim)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    task = TASKS[config.task](config, run, clip, jnp.asarray(texts), data)
    step = make_train_step(
        task.loss,
        make_optimizer(config),
        make_schedule(config),
        backbone=config.backbone,
        ema=config.ema,
        axis_name=AXIS,
    )
    return Case(
        config,
        data,
        clip,
        jnp.asarray(texts),
        task,
        task.variables(),
        parallel(step, donate_first=True),
        split_batch(_random(task)),
    )


def _random(task: Task) -> Batch:
    """A real batch of the task with random pixels."""
    batches = task.batches(0, 0)
    batch = next(batches)
    batches.close()
    return {**batch, "image": np.random.default_rng(0).integers(0, 256, batch["image"].shape, np.uint8)}


class Trainer:
    """Steps of a case, each from the state that the last one left."""

    def __init__(self, case: Case, step: Any) -> None:
        self._step, self._state = step, case.new_state()
        self._batch = case.batch
        self._batches = case.task.batches(0, 0)

    def random(self) -> dict[str, Array]:
        """One step on the random batch, which lies on the device."""
        return self._take(self._batch)

    def real(self) -> dict[str, Array]:
        """One step on the pipeline's next batch."""
        return self._take(split_batch(next(self._batches)))

    def _take(self, batch: Batch) -> dict[str, Array]:
        self._state, metrics = self._step(self._state, batch)
        return dict(metrics)

    def close(self) -> None:
        self._batches.close()


def inference_call(case: Case, batch_size: int) -> Callable[[], Any]:
    """Inference on `batch_size` random images: embeddings as by `encode_image`, or detections in images of the run's
    views."""
    rng, config = np.random.default_rng(0), case.config
    if config.task == "align":
        size = config.image_size
        images = rng.normal(size=(batch_size, size, size, 3)).astype(np.float32)
        return lambda: encode_image(case.clip, jnp.asarray(images))
    assert config.detector is not None
    model = Detector(case.clip.config, config.detector, dtype=jnp.dtype(config.dtype))
    views = [rng.integers(0, 256, (batch_size, v, v, 3), np.uint8) for v in config.views]
    most = config.max_detections
    find = jax.jit(lambda variables, views, texts: find_objects(model, variables, views, texts, count=most))
    return lambda: find(case.variables, views, case.texts)
