"""The workload of `contrast`: model, loss, batches and evaluation."""

import dataclasses

import jax
import jax.numpy as jnp

from remoteclip_jax.clip.config import architecture
from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.clip.model import CLIP, Variables, init, init_shapes
from remoteclip_jax.data.pipeline import Batches, steps_per_epoch
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.data import RunData
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runtime.devices import AXIS
from remoteclip_jax.tasks.loading import load
from remoteclip_jax.training.optimizer import Rules
from remoteclip_jax.training.workload import Workload

from .batches import Captions, contrast_batches
from .config import ContrastConfig, Freeze
from .evaluation import make_evaluator
from .loss import make_contrast_loss

STEM = r"^visual/(conv|bn)\d/"
RULES: dict[Freeze, Rules] = {
    "none": ((r"^visual/", "backbone"), (r"^(text/|logit_scale$)", "train")),
    "image": ((r"^visual/", "frozen"), (r"^(text/|logit_scale$)", "train")),
    "image_stem": ((STEM, "frozen"), (r"^visual/", "backbone"), (r"^(text/|logit_scale$)", "train")),
    "text": ((r"^visual/", "backbone"), (r"^text/", "frozen"), (r"^logit_scale$", "train")),
}


def prepare(config: ContrastConfig, run: RunDirectory, data: RunData, resumed: bool) -> Workload:
    """The workload of a run. Unless the run is `resumed`, the towers that training starts from are loaded or made.
    UserError if they have no text tower, or if a batch cannot be divided."""
    check_parts(config)
    return make_workload(config, None if resumed else initial_towers(config), data)


def check_parts(config: ContrastConfig) -> None:
    """UserError if a device's share of a batch cannot be computed in `accumulate` equal parts."""
    devices = jax.local_device_count()
    if config.batch_size % (devices * config.accumulate):
        raise UserError(
            f"--batch_size={config.batch_size} must be a multiple of {devices * config.accumulate}: "
            f"--accumulate={config.accumulate} parts on each of {devices} devices"
        )


def initial_towers(config: ContrastConfig) -> RemoteCLIP:
    """The towers in `weights`, or random ones. UserError if the weights have no text tower."""
    if config.weights:
        clip = load(config.weights)
        if not clip.has_text_tower:
            raise UserError(f"--weights={config.weights} has no text tower, which --task=contrast needs")
        return clip
    print("both towers start from random weights; --weights=DIR (from python -m convert) gives RemoteCLIP's")
    shape = architecture(config.arch)
    return RemoteCLIP(shape, init(shape, jax.random.key(config.seed)))


def make_workload(config: ContrastConfig, clip: RemoteCLIP | None, data: RunData) -> Workload:
    """Like `prepare`. The towers start as those of `clip`; None if a checkpoint provides them."""
    train = data.train
    shape = clip.config if clip else architecture(config.arch)
    config = dataclasses.replace(config, arch=shape.arch)
    model = CLIP(shape, jnp.dtype(config.dtype), AXIS, config.remat)
    captions = Captions(train, shape.context_length)
    if captions.truncated:
        print(f"{captions.truncated} captions are longer than {shape.context_length} tokens, and were cut")
    val = None
    if data.val is not None:
        val = dataclasses.replace(data.val, examples=data.val.examples[: config.validation_images])
    evaluate = None
    if val is not None:
        evaluate = make_evaluator(model, val, batch_size=config.batch_size, image_size=config.image_size)

    def variables() -> Variables:
        assert clip is not None
        return clip.variables

    def batches(step: int, _: int) -> Batches:
        return contrast_batches(
            train,
            captions,
            batch_size=config.batch_size,
            image_size=config.image_size,
            seed=config.seed,
            augmentation=config.augment,
            start_step=step,
        )

    return Workload(
        config,
        variables,
        lambda: init_shapes(shape),
        make_contrast_loss(model, config),
        batches,
        steps_per_epoch(train, config.batch_size),
        evaluate,
        rehearse=evaluate,
        rehearsal_images=len(val) if val else 0,
        rules=RULES[config.freeze],
    )
