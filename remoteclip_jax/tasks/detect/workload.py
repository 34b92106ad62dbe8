"""The workload of `detect`: model, loss, batches and evaluation."""

import dataclasses
import itertools
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from remoteclip_jax.clip.config import architecture
from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.clip.model import Variables, one_tower
from remoteclip_jax.clip.text_embeddings import TextEmbeddings
from remoteclip_jax.clip.weights import load_weights, save_weights
from remoteclip_jax.data.pipeline import Batches, steps_per_epoch
from remoteclip_jax.data.sampling import Sampler, SamplingConfig
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.data.views import format_views
from remoteclip_jax.detector.inference import novel_prompts
from remoteclip_jax.detector.model import Detector, detector_shapes
from remoteclip_jax.detector.regions import FROZEN
from remoteclip_jax.evaluation.detection import evaluate_detections, table
from remoteclip_jax.runs.data import RunData
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.towers import frozen_parameter_counts, prepare_texts, prepare_towers
from remoteclip_jax.runtime.devices import AXIS, replicate
from remoteclip_jax.tasks.loading import load_towers
from remoteclip_jax.training.optimizer import TOWER_RULES, Rules
from remoteclip_jax.training.workload import MakeBatches, Workload

from .batches import box_slots, detection_batches, object_crop_batches
from .config import DetectConfig
from .evaluation import write_evaluation
from .loading import is_detector, load_detector, without
from .loss import make_detect_loss
from .prediction import make_predictor
from .thresholds import facts_line, fit_thresholds, threshold_facts
from .variables import initial_variables

OBJECT_CROP_SIZE = 64  # pixels per side of the object crops that the image tower is aligned on
RULES: Rules = (
    *TOWER_RULES,
    (r"^class_head/(directions|gains)$", "frozen"),
    (r"^(pyramid|tower|class_head|class_query|dense_box|decoder_(\d+|norm)|boxes_\d+|content|places)(/|$)", "train"),
)


def prepare(config: DetectConfig, run: RunDirectory, data: RunData, resumed: bool) -> Workload:
    """The workload of a run. Unless the run is `resumed`, the towers that training starts from are loaded or made."""
    clip = None if resumed else prepare_towers(config, run, load_towers)
    if clip is not None:
        keep_frozen_tower(config, run, clip)
    return make_workload(config, run, clip, prepare_texts(config, run, data.classes, clip), data)


def make_workload(
    config: DetectConfig, run: RunDirectory, clip: RemoteCLIP | None, texts: Float[Array, "k d"], data: RunData
) -> Workload:
    """Like `prepare`. The image tower starts as that of `clip`; None if a checkpoint provides it. `texts` are the
    embeddings of all classes. Training sees only those of the base classes."""
    train, val, final = data.train, data.val, data.final
    shape = clip.config if clip else architecture(config.arch)
    config = dataclasses.replace(config, arch=shape.arch)
    model = Detector(shape, config.detector, jnp.dtype(config.dtype), AXIS, config.remat)
    has_several_classes = len({label for example in train.examples for label in example.labels.tolist()}) > 1
    named = TextEmbeddings(data.classes, np.asarray(texts))
    _, novel = novel_prompts(named, without(named, config.novel))
    # No image of the validation shows a novel class, so that it does without the frozen tower.
    frozen = {FROZEN: load_weights(run.frozen_tower)[1]} if config.novel and run.frozen_tower.is_dir() else {}
    base_texts = texts[np.array([data.classes.index(name) for name in train.classes])]
    predict = make_predictor(
        model,
        texts,
        data.classes,
        batch_size=config.batch_size,
        views=config.views,
        max_detections=config.max_detections,
        novel=novel,
    )

    def evaluate(variables: Variables) -> dict[str, float]:
        assert val is not None
        metrics = evaluate_detections(val, predict(variables, val))
        return {name: metrics[name] or 0.0 for name in ("map", "map_50", "map_75")}

    # The score thresholds are fitted to `val`, which is predicted for that unless it is (a part of) `final`.
    fitted_apart = val if val and final and val.split != final.split else None

    def finish(variables: Variables) -> None:
        assert final is not None
        facts: dict[str, Any] = {"data_dir": config.data_dir or str(run.data), "views": config.views}
        facts["max_detections"] = config.max_detections
        facts["frozen_tower"] = bool(frozen)
        found, thresholds = predict(variables | replicate(frozen), final), None
        if fitted_apart is not None:
            thresholds = fit_thresholds(run, fitted_apart, predict(variables, fitted_apart))
        elif val is not None:
            thresholds = fit_thresholds(run, final, found)
        facts |= threshold_facts(thresholds, final, found)
        result = write_evaluation(final, found, run.evaluation(final.split), facts, config.novel)
        print(f"{final.split}, {len(final)} images, predicted at {format_views(config.views)} pixels")
        print(f"{facts_line(result)}\n{table(result)}")

    rehearsed = val or final

    def rehearse(variables: Variables, images: int) -> None:
        assert rehearsed is not None
        subset = dataclasses.replace(rehearsed, examples=rehearsed.examples[:images])
        evaluate_detections(subset, predict(variables, subset))

    def variables() -> Variables:
        assert clip is not None
        return initial_variables(config, clip, base_texts)

    return Workload(
        config,
        variables,
        partial(detector_shapes, shape, config.detector),
        make_detect_loss(model, base_texts),
        make_batches(config, train),
        steps_per_epoch(train, config.batch_size),
        evaluate if val else None,
        rehearse if rehearsed else None,
        len(rehearsed) if rehearsed else 0,
        finish if final else None,
        (len(final) + len(fitted_apart or ())) / len(rehearsed) if final and rehearsed else 0.0,
        config.align_share if has_several_classes else 0.0,
        rules=RULES,
        frozen_counts=frozen_parameter_counts(clip),
    )


def keep_frozen_tower(config: DetectConfig, run: RunDirectory, clip: RemoteCLIP) -> None:
    """Store the image tower that a run starts from, if a CLIP trained it: it will score prompts that this run does not
    train on. A detector's tower is no longer CLIP's; its own frozen one is taken."""
    if not config.weights or not clip.has_text_tower or run.frozen_tower.exists():
        return
    if is_detector(config.weights):
        tower = load_detector(config.weights).variables.get(FROZEN)
    else:
        tower = one_tower(clip.variables, "visual")
    if tower is not None:
        save_weights(run.frozen_tower, clip.config, tower, {"part": "frozen"})


def make_batches(config: DetectConfig, train: Dataset) -> MakeBatches:
    """The batches that training reads: object crops in the first phase, then windows. Both phases share the cache of
    decoded images."""
    slots = box_slots(train, config.max_objects, config.mosaic > 0)
    sampling = SamplingConfig(config.image_size, config.views, config.jitter, config.augment, config.mosaic)
    sampler = Sampler(train, sampling)
    # A batch of object crops has half as many pixels as one of windows.
    crops = config.batch_size * max(1, config.image_size**2 // OBJECT_CROP_SIZE**2 // 2)

    def batches(step: int, first_steps: int) -> Batches:
        if step < first_steps:
            crop_batches = object_crop_batches(
                train, sampler, batch_size=crops, size=OBJECT_CROP_SIZE, seed=config.seed, start_step=step
            )
            yield from itertools.islice(crop_batches, first_steps - step)
        yield from detection_batches(
            train,
            sampler,
            batch_size=config.batch_size,
            slots=slots,
            seed=config.seed,
            start_step=max(step, first_steps),
        )

    return batches
