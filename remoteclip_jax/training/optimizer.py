"""AdamW for the parameters that train, exact zeros for those that are frozen, and the learning rate schedules."""

import math
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from remoteclip_jax.runs.config import Backbone, TrainConfig
from remoteclip_jax.training.packing import is_packed

Rules = tuple[tuple[str, str], ...]  # (pattern, label); the first pattern found in a parameter's path decides
TOWER_RULES: Rules = (
    (r"^visual/", "backbone"),
    (r"^text/", "frozen"),
    (r"^logit_scale$", "frozen"),
)

MATRICES, VECTORS = "matrices", "vectors"  # weight decay tells them apart
TEMPERATURE = "temperature"  # CLIP's, which is bounded
MAX_LOGIT_SCALE = math.log(100)  # "clipped to prevent scaling the logits by more than 100" (Radford et al. 2021)
# A trained image tower gets a smaller learning rate than random parameters: a tenth, as in Deformable DETR.
LEARNING_RATE_FACTORS = {"train": 1.0, "slow": 0.1, "frozen": 0.0}


def label_parameters(params: Any, rules: Rules = TOWER_RULES, backbone: Backbone = "train") -> Any:
    """The tree of `params` with each leaf replaced by its label: "train", "slow" or "frozen", by `rules`. The label
    "backbone" in a rule stands for `backbone`. ValueError for a leaf that no rule matches."""

    def label(path: tuple[Any, ...], _: Any) -> str:
        name = "/".join(str(key.key) for key in path)
        for pattern, label_of_rule in rules:
            if re.search(pattern, name):
                return backbone if label_of_rule == "backbone" else label_of_rule
        raise ValueError(f"no rule says whether {name} trains or is frozen")

    return jax.tree_util.tree_map_with_path(label, params)


def parameter_groups(params: Any, rules: Rules = TOWER_RULES, backbone: Backbone = "train") -> Any:
    """The tree of `params` with each leaf replaced by the name of its group: those of one group are updated alike, and
    may be packed together."""

    def group(path: tuple[Any, ...], label: str, x: Any) -> str:
        kind = TEMPERATURE if path[-1].key == "logit_scale" else MATRICES if x.ndim > 1 else VECTORS
        return f"{label}/{kind}"

    labels = label_parameters(params, rules, backbone)
    return jax.tree_util.tree_map_with_path(group, labels, params)


def make_optimizer(config: TrainConfig, rules: Rules = TOWER_RULES) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) with learning rate one, for trees of parameters, packed or not.

    The training step multiplies by the schedule, because the number of steps may change during the training. Frozen
    parameters get exact zeros and no moments; with `stop_gradient` alone, weight decay would still change them. With
    `clip_norm` the norm of the gradient is clipped first. Without `decay_vectors` norms, biases and scalars are not
    decayed.
    """

    def groups_of(params: Any) -> Any:
        return params.groups() if is_packed(params) else parameter_groups(params, rules, config.backbone)

    def labels_of(params: Any) -> Any:
        return jax.tree.map(label_of_group, groups_of(params))

    def is_matrix(params: Any) -> Any:
        if is_packed(params):
            return jax.tree.map(lambda group: group.endswith(MATRICES), params.groups())
        return jax.tree.map(lambda x: x.ndim > 1, params)

    mask = None if config.decay_vectors else is_matrix
    adamw = optax.adamw(1.0, b1=0.9, b2=config.beta2, eps=1e-8, weight_decay=config.weight_decay, mask=mask)
    update = optax.partition({"train": adamw, "slow": adamw, "frozen": optax.set_to_zero()}, labels_of)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), update) if config.clip_norm else update


def label_of_group(group: str) -> str:
    """The label of a group's parameters."""
    return group.partition("/")[0]


def make_schedule(config: TrainConfig) -> Callable[[Int[Array, ""], Int[Array, ""]], Float[Array, ""]]:
    """The learning rate as a function of (steps done, total steps).

    `constant` is that of the original experiment. `cosine` falls to zero. `step` falls tenfold after two thirds of the
    steps (in DETR after 200 of 300 epochs). Both of them rise linearly over the first twentieth.
    """

    def schedule(step: Int[Array, ""], total: Int[Array, ""]) -> Float[Array, ""]:
        done = step / total
        if config.schedule == "constant":
            return jnp.full((), config.learning_rate)
        warmup = jnp.minimum(1.0, (step + 1) / jnp.ceil(total / 20))
        if config.schedule == "cosine":
            return config.learning_rate * warmup * 0.5 * (1 + jnp.cos(jnp.pi * done))
        return config.learning_rate * warmup * jnp.where(done < 2 / 3, 1.0, 0.1)

    return schedule
