"""The loss of `contrast`: CLIP's symmetric InfoNCE over the global batch (Radford et al. 2021, figure 3)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from remoteclip_jax.clip.model import CLIP
from remoteclip_jax.clip.preprocess import normalise
from remoteclip_jax.ops.similarity import l2_normalise
from remoteclip_jax.training.workload import Batch, Loss, Parts

from .config import ContrastConfig


def info_nce(
    images: Float[Array, "n d"],
    texts: Float[Array, "n d"],
    scale: Float[Array, ""],
    identity: Int[Array, " n"],
    axis_name: str | None = None,
) -> Float[Array, ""]:
    """The mean cross-entropy of this device's images over all texts, and of its texts over all images.

    `images` and `texts` have unit length, and row i of one belongs to row i of the other. `scale` multiplies the
    cosines. `identity` is the number of each image: pairs of one and the same image are not each other's negatives.
    Without such duplicates this is open_clip's `ClipLoss(local_loss=True, gather_with_grad=True)`: the mean over the
    devices, and the mean of the gradients, are those of one device with the whole batch.
    """
    count = len(images)
    all_images, all_texts, all_identities = images, texts, identity
    own = jnp.arange(count)
    if axis_name is not None:
        all_images, all_texts, all_identities = jax.lax.all_gather((images, texts, identity), axis_name, tiled=True)
        own += jax.lax.axis_index(axis_name) * count
    same = (identity[:, None] == all_identities) & (own[:, None] != jnp.arange(len(all_identities)))

    def cross_entropy(rows: Float[Array, "n d"], columns: Float[Array, "m d"]) -> Float[Array, ""]:
        logits = jnp.where(same, -jnp.inf, scale * rows @ columns.T)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), own[:, None], 1).mean()

    return (cross_entropy(images, all_texts) + cross_entropy(texts, all_images)) / 2


def make_contrast_loss(model: CLIP, config: ContrastConfig) -> Loss:
    """The loss of a batch of `image` uint8 [b, s, s, 3], `ids` int32 [b, l] and `index` int32 [b].

    In several parts (`accumulate`) the embeddings of all parts are computed first, and the backward pass computes the
    activations of one part at a time again. So memory holds those of one part, and the negatives are still those of
    the whole batch (GradCache, Gao et al. 2021).
    """
    train = config.train_norm and config.freeze != "image"

    def loss(
        params: dict[str, Any], batch_stats: dict[str, Any], batch: Batch, key: Array
    ) -> tuple[Array, tuple[Parts, dict[str, Any]]]:
        variables = {"params": params, "batch_stats": batch_stats}
        frozen_stem = config.freeze == "image_stem"

        def encode(images: Array, ids: Array) -> tuple[Array, Array, dict[str, Any]]:
            embeddings, updates = model.apply(
                variables,
                normalise(images),
                train,
                frozen_stem,
                method="encode_image",
                mutable=["batch_stats"] if train else [],
            )
            texts = jnp.asarray(model.apply(variables, ids, method="encode_text"))
            return l2_normalise(embeddings), l2_normalise(texts), updates.get("batch_stats", batch_stats)

        if config.accumulate == 1:
            images, texts, statistics = encode(batch["image"], batch["ids"])
        else:
            parts = [x.reshape(config.accumulate, -1, *x.shape[1:]) for x in (batch["image"], batch["ids"])]
            part_of = jax.checkpoint(lambda part: encode(*part)[:2])
            images, texts = (x.reshape(-1, x.shape[-1]) for x in jax.lax.map(part_of, tuple(parts)))
            statistics = batch_stats
        scale = jnp.exp(params["logit_scale"])
        value = info_nce(images, texts, scale, batch["index"], model.axis_name)
        return value, ({"temperature": 1 / scale}, statistics)

    return loss
