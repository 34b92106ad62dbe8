"""The loss of `align`."""

from typing import Any

from jaxtyping import Array, Float

from remoteclip_jax.clip.model import CLIP
from remoteclip_jax.clip.preprocess import normalise
from remoteclip_jax.ops.similarity import class_logits, soft_cross_entropy
from remoteclip_jax.training.workload import Batch, Loss, Parts


def make_align_loss(model: CLIP, class_embeddings: Float[Array, "k d"], temperature: float) -> Loss:
    """The cross-entropy of a batch of `image` uint8 [b, s, s, 3] and `target` [b, k], with batch norm in train mode."""

    def loss(
        params: dict[str, Any], batch_stats: dict[str, Any], batch: Batch, key: Array
    ) -> tuple[Array, tuple[Parts, dict[str, Any]]]:
        variables, images = {"params": params, "batch_stats": batch_stats}, normalise(batch["image"])
        embeddings, updates = model.apply(variables, images, train=True, method="encode_image", mutable=["batch_stats"])
        value = soft_cross_entropy(class_logits(embeddings, class_embeddings, temperature), batch["target"]).mean()
        return value, ({}, updates["batch_stats"])

    return loss
