"""The workload of `align`: model, loss, batches and evaluation."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from remoteclip_jax.clip.config import architecture
from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.clip.model import CLIP, Variables, init_shapes, one_tower
from remoteclip_jax.data.pipeline import Batches, steps_per_epoch
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.runs.data import RunData
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.towers import frozen_parameter_counts, prepare_texts, prepare_towers
from remoteclip_jax.runtime.devices import AXIS, free_device_memory
from remoteclip_jax.tasks.loading import load
from remoteclip_jax.training.workload import MakeBatches, Workload

from .batches import training_batches
from .config import AlignConfig
from .evaluation import make_evaluator
from .loss import make_align_loss
from .resident import ResidentImages, fits


def prepare(config: AlignConfig, run: RunDirectory, data: RunData, resumed: bool) -> Workload:
    """The workload of a run. Unless the run is `resumed`, the towers that training starts from are loaded or made."""
    clip = None if resumed else prepare_towers(config, run, load)
    return make_workload(config, run, clip, prepare_texts(config, run, data.classes, clip), data)


def make_workload(
    config: AlignConfig,
    run: RunDirectory,
    clip: RemoteCLIP | None,
    class_embeddings: Float[Array, "k d"],
    data: RunData,
) -> Workload:
    """Like `prepare`. The image tower starts as that of `clip`; None if a checkpoint provides it."""
    train, val = data.train, data.val
    shape = clip.config if clip else architecture(config.arch)
    config = dataclasses.replace(config, arch=shape.arch)
    model = CLIP(shape, dtype=jnp.dtype(config.dtype), axis_name=AXIS, remat=config.remat)
    evaluate = None
    if val is not None:
        evaluate = make_evaluator(
            model,
            class_embeddings,
            config.temperature,
            val,
            batch_size=config.batch_size,
            image_size=config.image_size,
            label=config.label,
        )

    def variables() -> Variables:
        assert clip is not None
        return one_tower(clip.variables, "visual")

    def shapes() -> Variables:
        return one_tower(init_shapes(shape, text_tower=False), "visual")

    workload = Workload(
        config,
        variables,
        shapes,
        make_align_loss(model, class_embeddings, config.temperature),
        make_batches(config, train),
        steps_per_epoch(train, config.batch_size),
        evaluate,
        rehearse=evaluate,
        rehearsal_images=len(val) if val else 0,
        frozen_counts=frozen_parameter_counts(clip),
    )
    if config.augment != "full" and fits(len(train), config.image_size, free_device_memory()):
        return on_devices(workload, config, train)
    return workload


def make_batches(config: AlignConfig, train: Dataset) -> MakeBatches:
    """The batches that training reads. Every iterator decodes the images again."""

    def batches(step: int, _: int) -> Batches:
        return training_batches(
            train,
            batch_size=config.batch_size,
            image_size=config.image_size,
            seed=config.seed,
            start_step=step,
            rule=config.label,
            augmentation=config.augment,
        )

    return batches


def on_devices(workload: Workload, config: AlignConfig, train: Dataset) -> Workload:
    """`workload` with the same batches, drawn from images that live on the devices."""
    images = ResidentImages(train, image_size=config.image_size, rule=config.label)

    def batches(step: int, _: int) -> Batches:
        return images.batches(
            batch_size=config.batch_size, seed=config.seed, augmentation=config.augment, start_step=step
        )

    return dataclasses.replace(workload, batches=batches, place=images.place)
