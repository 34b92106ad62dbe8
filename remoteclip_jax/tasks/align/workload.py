"""The task `align`: images against the frozen embeddings of their classes."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from remoteclip_jax.clip.config import architecture
from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.clip.model import CLIP, Variables, init_shapes, one_tower
from remoteclip_jax.clip.preprocess import normalise
from remoteclip_jax.data.pipeline import Batches, steps_per_epoch
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.ops.similarity import class_logits, soft_cross_entropy
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.data import Data
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runtime.devices import AXIS
from remoteclip_jax.tasks.align.batches import training_batches
from remoteclip_jax.tasks.align.classification import make_evaluator
from remoteclip_jax.training.workload import Batch, Loss, MakeBatches, Parts, Task


def make_align_loss(model: CLIP, class_embeddings: Float[Array, "k d"], temperature: float) -> Loss:
    """The loss of a batch of `image` uint8 [b, s, s, 3] and `target` [b, k], in train mode."""

    def loss(
        params: dict[str, Any], batch_stats: dict[str, Any], batch: Batch, key: Array
    ) -> tuple[Array, tuple[Parts, dict[str, Any]]]:
        variables, images = {"params": params, "batch_stats": batch_stats}, normalise(batch["image"])
        embeddings, updates = model.apply(variables, images, train=True, method="encode_image", mutable=["batch_stats"])
        value = soft_cross_entropy(class_logits(embeddings, class_embeddings, temperature), batch["target"]).mean()
        return value, ({}, updates["batch_stats"])

    return loss


def make_batches(config: TrainConfig, train: Dataset) -> MakeBatches:
    """What training reads; images are decoded afresh by every iterator."""

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


def make_task(
    config: TrainConfig, run: RunDirectory, clip: RemoteCLIP | None, class_embeddings: Float[Array, "k d"], data: Data
) -> Task:
    """The task as the loop wants it; `clip` is where the image tower starts, None where a checkpoint says."""
    train, val = data.train, data.val
    shape = clip.config if clip else architecture(config.arch)
    model = CLIP(shape, dtype=jnp.dtype(config.dtype), axis_name=AXIS)
    shared = {"batch_size": config.batch_size, "image_size": config.image_size}
    evaluate = None
    if val is not None:
        evaluate = make_evaluator(model, class_embeddings, config.temperature, val, **shared, label=config.label)
    loss = make_align_loss(model, class_embeddings, config.temperature)
    per_epoch = steps_per_epoch(train, config.batch_size)

    def variables() -> Variables:
        assert clip is not None
        return one_tower(clip.variables, "visual")

    def shapes() -> Variables:
        return one_tower(init_shapes(shape, text_tower=False), "visual")

    return Task(
        variables, shapes, loss, make_batches(config, train), per_epoch, evaluate, evaluate, len(val) if val else 0
    )
