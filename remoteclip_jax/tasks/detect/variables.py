"""Where a detector starts: random numbers, an image tower, a class head that fits the prompts, or another detector."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.clip.model import Variables
from remoteclip_jax.detector.heads import adapt
from remoteclip_jax.detector.model import init

from .config import DetectConfig
from .loading import is_detector, load_detector


def initial_variables(config: DetectConfig, clip: RemoteCLIP, texts: Float[Array, "k d"]) -> Variables:
    """Random ones from the seed, with the image tower of `clip` and a class head adapted to the prompts; where
    `weights` is a detector's run, whatever of it has the same shape takes the place of the random ones."""
    variables = init(clip.config, config.detector, jax.random.key(config.seed))
    params, stats = variables["params"], variables["batch_stats"]
    if config.weights and is_detector(config.weights):
        trained = load_detector(config.weights)
        params, stats = _taken(params, trained.variables["params"]), _taken(stats, trained.variables["batch_stats"])
        if np.array_equal(trained.embeddings, texts):  # the same prompts: its head is adapted to them already
            return {"params": params, "batch_stats": stats}
    return {
        "params": {
            **params,
            "visual": clip.variables["params"]["visual"],
            "class_head": adapt(params["class_head"], texts),
        },
        "batch_stats": {**stats, "visual": clip.variables["batch_stats"]["visual"]},
    }


def _taken(tree: dict[str, Any], trained: dict[str, Any]) -> dict[str, Any]:
    """`tree` with the arrays of `trained` that have the same path and shape."""

    def take(own: Any, other: Any) -> Any:
        if isinstance(own, dict):
            return {name: take(value, other.get(name)) if other else value for name, value in own.items()}
        return own if other is None or np.shape(other) != np.shape(own) else other

    return dict(take(tree, trained))
