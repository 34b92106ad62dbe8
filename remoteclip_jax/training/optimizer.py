"""AdamW over the parameters that train, exact zeros over those that are frozen, and the learning rate's schedules."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from remoteclip_jax.runs.config import Backbone, TrainConfig

Rules = tuple[tuple[str, str], ...]
# The first pattern found in a parameter's path decides; a parameter that none matches is an error.
TOWER_RULES: Rules = (
    (r"^visual/", "backbone"),
    (r"^text/", "frozen"),
    (r"^logit_scale$", "frozen"),
)

# Share of the learning rate: a trained image tower moves less than what begins at random (Deformable DETR's tenth).
LEARNING_RATE_FACTORS = {"train": 1.0, "slow": 0.1, "frozen": 0.0}


def label_parameters(params: Any, rules: Rules = TOWER_RULES, backbone: Backbone = "train") -> Any:
    """The tree of `params` with each leaf replaced by "train", "slow" or "frozen", as `rules` say; the image tower's is
    `backbone`.
    ValueError for a leaf that has no rule."""

    def label(path: tuple[Any, ...], _: Any) -> str:
        name = "/".join(str(key.key) for key in path)
        for pattern, value in rules:
            if re.search(pattern, name):
                return backbone if value == "backbone" else value
        raise ValueError(f"no rule says whether {name} trains or is frozen")

    return jax.tree_util.tree_map_with_path(label, params)


def make_optimizer(config: TrainConfig, rules: Rules = TOWER_RULES) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) at learning rate one; the step multiplies by the schedule.

    The schedule stands outside because the number of steps may be fitted while the program runs. Frozen parameters
    get exact zeros and no moments: `stop_gradient` alone would leave them to the weight decay. With `clip_norm` the
    gradient's length is bounded first. Without `decay_vectors` norms, biases and scalars keep their size.
    """
    mask = None if config.decay_vectors else partial(jax.tree.map, lambda x: x.ndim > 1)
    adamw = optax.adamw(1.0, b1=0.9, b2=config.beta2, eps=1e-8, weight_decay=config.weight_decay, mask=mask)
    groups = {"train": adamw, "slow": adamw, "frozen": optax.set_to_zero()}
    update = optax.partition(groups, partial(label_parameters, rules=rules, backbone=config.backbone))
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), update) if config.clip_norm else update


def make_schedule(config: TrainConfig) -> Callable[[Int[Array, ""], Int[Array, ""]], Float[Array, ""]]:
    """The learning rate as a function of (steps done, steps in all).

    `constant` is the original's. `cosine` falls to zero, `step` falls tenfold after two thirds of the steps (DETR's
    200 of 300 epochs); both rise linearly over the first twentieth.
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
