"""The task `detect`: the context-guided detector, trained end to end."""

import dataclasses
import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from remoteclip_jax.clip.config import architecture
from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.clip.model import Variables
from remoteclip_jax.clip.preprocess import normalise
from remoteclip_jax.data.pipeline import Batches, steps_per_epoch
from remoteclip_jax.data.sampling import Sampler, Sampling
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.data.views import told
from remoteclip_jax.detector.heads import adapt
from remoteclip_jax.detector.model import Detector, detector_shapes, init
from remoteclip_jax.detector.recognition import recognition_loss
from remoteclip_jax.detector.supervision import Truth, detection_loss
from remoteclip_jax.evaluation.detection import evaluate_detections, table
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.data import Data
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runtime.devices import AXIS
from remoteclip_jax.tasks.detect.batches import box_slots, close_up_batches, detection_batches
from remoteclip_jax.tasks.detect.evaluation import write_evaluation
from remoteclip_jax.tasks.detect.prediction import make_predictor
from remoteclip_jax.tasks.loading import is_detect_run, load_detector
from remoteclip_jax.training.workload import Batch, Loss, MakeBatches, Parts, Task

CLOSE_UP = 64  # pixels of the images of single objects that the image tower is aligned on first


def make_detect_loss(model: Detector, texts: Float[Array, "k d"]) -> Loss:
    """The loss of a batch of `detection_batches`; or, of one of `close_up_batches`, that of recognising single
    objects."""

    def loss(
        params: dict[str, Any], batch_stats: dict[str, Any], batch: Batch, key: Array
    ) -> tuple[Array, tuple[Parts, dict[str, Any]]]:
        variables, images = {"params": params, "batch_stats": batch_stats}, normalise(batch["image"])
        frozen = jax.lax.stop_gradient(texts)
        if "label" in batch:
            seen = batch["label"], batch["shown"], batch["ignored"]
            return recognition_loss(model, variables, images, frozen, *seen, model.axis_name)
        truth = Truth(*(batch[name] for name in Truth._fields))
        return detection_loss(model, variables, images, frozen, truth, key, model.axis_name)

    return loss


def make_batches(config: TrainConfig, train: Dataset) -> MakeBatches:
    """What training reads: single objects for alignment, then windows. Images are decoded once."""
    slots = box_slots(train, config.max_objects, config.mosaic > 0)
    sampling = Sampling(config.image_size, config.views, config.jitter, config.augment, config.mosaic)
    sampler = Sampler(train, sampling)  # one for both phases

    def batches(step: int, align_steps: int) -> Batches:
        crops = config.batch_size * max(1, config.image_size**2 // CLOSE_UP**2 // 2)  # half the pixels of a step later
        if step < align_steps:
            yield from itertools.islice(
                close_up_batches(train, sampler, batch_size=crops, size=CLOSE_UP, seed=config.seed, start_step=step),
                align_steps - step,
            )
        yield from detection_batches(
            train,
            sampler,
            batch_size=config.batch_size,
            slots=slots,
            seed=config.seed,
            start_step=max(step, align_steps),
        )

    return batches


def make_task(
    config: TrainConfig, run: RunDirectory, clip: RemoteCLIP | None, texts: Float[Array, "k d"], data: Data
) -> Task:
    """The task as the loop wants it; the image tower starts as `clip`'s, None where a checkpoint says. `texts` are
    those of all classes, of which training sees those that are not novel."""
    assert config.detector is not None
    train, val, final = data.train, data.val, data.final
    shape = clip.config if clip else architecture(config.arch)
    model = Detector(shape, config.detector, dtype=jnp.dtype(config.dtype), axis_name=AXIS)
    several = len({label for example in train.examples for label in example.labels.tolist()}) > 1
    base = texts[np.array([data.classes.index(name) for name in train.classes])]
    predict = make_predictor(
        model,
        texts,
        data.classes,
        batch_size=config.batch_size,
        views=config.views,
        max_detections=config.max_detections,
    )

    def evaluate(variables: Variables) -> dict[str, float]:
        assert val is not None
        metrics = evaluate_detections(val, predict(variables, val))
        return {name: metrics[name] or 0.0 for name in ("map", "map_50", "map_75")}

    def finish(variables: Variables) -> None:
        assert final is not None
        facts: dict[str, Any] = {"data_dir": config.data_dir or str(run.data), "views": config.views}
        facts["max_detections"] = config.max_detections
        result = write_evaluation(final, predict(variables, final), run.evaluation(final.split), facts, config.novel)
        print(f"{final.split}, {len(final)} images, predicted at {told(config.views)} pixels\n{table(result)}")

    measured = val or final

    def rehearse(variables: Variables, images: int) -> None:
        assert measured is not None
        some = dataclasses.replace(measured, examples=measured.examples[:images])
        evaluate_detections(some, predict(variables, some))

    def variables() -> Variables:
        assert clip is not None
        return first_variables(config, clip, base)

    return Task(
        variables,
        partial(detector_shapes, shape, config.detector),
        make_detect_loss(model, base),
        make_batches(config, train),
        steps_per_epoch(train, config.batch_size),
        evaluate if val else None,
        rehearse if measured else None,
        len(measured) if measured else 0,
        finish if final else None,
        len(final) / len(measured) if final and measured else 0.0,
        config.align_share if several else 0.0,
    )


def first_variables(config: TrainConfig, clip: RemoteCLIP, texts: Float[Array, "k d"]) -> Variables:
    """Random ones from the seed, with the image tower of `clip` and a class head adapted to the prompts; where
    `weights` is a detector's run, whatever of it has the same shape takes the place of the random ones."""
    assert config.detector is not None
    variables = init(clip.config, config.detector, jax.random.key(config.seed))
    params, stats = variables["params"], variables["batch_stats"]
    if config.weights and is_detect_run(config.weights):
        trained = load_detector(config.weights)
        params, stats = _taken(params, trained.variables["params"]), _taken(stats, trained.variables["batch_stats"])
        if np.array_equal(trained.embeddings, texts):  # the same prompts: its head is adapted to them already
            return {"params": params, "batch_stats": stats}
    return {
        "params": {
            **params,
            "visual": clip.variables["params"]["visual"],
            "class_head": adapt(params["class_head"], texts),
        },
        "batch_stats": {**stats, "visual": clip.variables["batch_stats"]["visual"]},
    }


def _taken(tree: dict[str, Any], trained: dict[str, Any]) -> dict[str, Any]:
    """`tree` with the arrays of `trained` that have the same path and shape."""

    def take(own: Any, other: Any) -> Any:
        if isinstance(own, dict):
            return {name: take(value, other.get(name)) if other else value for name, value in own.items()}
        return own if other is None or np.shape(other) != np.shape(own) else other

    return dict(take(tree, trained))
