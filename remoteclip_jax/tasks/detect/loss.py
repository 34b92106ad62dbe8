"""The loss of `detect`, in both of its phases: alignment of the image tower, and detection."""

from typing import Any

import jax
from jaxtyping import Array, Float

from remoteclip_jax.clip.preprocess import normalise
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.detector.recognition import recognition_loss
from remoteclip_jax.detector.supervision import Truth, detection_loss
from remoteclip_jax.training.workload import Batch, Loss, Parts


def make_detect_loss(model: Detector, texts: Float[Array, "k d"]) -> Loss:
    """The loss of a batch: the detection loss for one of `detection_batches`, the recognition loss for one of
    `object_crop_batches`."""

    def loss(
        params: dict[str, Any], batch_stats: dict[str, Any], batch: Batch, key: Array
    ) -> tuple[Array, tuple[Parts, dict[str, Any]]]:
        variables, images = {"params": params, "batch_stats": batch_stats}, normalise(batch["image"])
        frozen = jax.lax.stop_gradient(texts)
        if "label" in batch:
            targets = batch["label"], batch["shown"], batch["ignored"]
            return recognition_loss(model, variables, images, frozen, *targets, model.axis_name)
        truth = Truth(*(batch[name] for name in Truth._fields))
        return detection_loss(model, variables, images, frozen, truth, key, model.axis_name)

    return loss
