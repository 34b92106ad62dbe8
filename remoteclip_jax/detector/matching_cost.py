"""The cost of matching a query with an object (Carion et al. 2020, DETR)."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.detector.losses import focal_parts
from remoteclip_jax.ops.boxes import corners, giou, pairwise


def class_cost(logits: Float[Array, "n q k"], labels: Int[Array, "n m"]) -> Float[Array, "n q m"]:
    """The change of the focal loss if the query became an object of that class (Zhu et al. 2021, Deformable DETR).

    It is infinite for a class whose logit is −inf.
    """
    return jnp.take_along_axis(class_cost_of(logits), labels[:, None, :], 2)


def class_cost_of(logits: Float[Array, "..."]) -> Float[Array, "..."]:
    """The same for logits of the classes in question."""
    positive, negative = focal_parts(logits)
    return positive - jnp.where(jnp.isfinite(logits), negative, 0)


def matching_cost(
    logits: Float[Array, "n q k"],
    boxes: Float[Array, "n q 4"],
    truth: Float[Array, "n m 4"],
    labels: Int[Array, "n m"],
    config: DetectorConfig,
) -> Float[Array, "n q m"]:
    """The cost of each query for each object: class, L1 and GIoU, weighted by `config`'s `match_*`."""
    l1 = jnp.abs(boxes[:, :, None] - truth[:, None]).sum(-1)
    overlap = pairwise(giou, corners(boxes), corners(truth))
    return config.match_class * class_cost(logits, labels) + config.match_l1 * l1 - config.match_giou * overlap
