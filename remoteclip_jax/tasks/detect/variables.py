"""The initial variables of a detector: random, with a given image tower, or from another detector."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.clip.model import Variables
from remoteclip_jax.detector.heads import fit_whitening
from remoteclip_jax.detector.model import init

from .config import DetectConfig
from .loading import is_detector, load_detector


def initial_variables(config: DetectConfig, clip: RemoteCLIP, texts: Float[Array, "k d"]) -> Variables:
    """Random variables from the seed, with the image tower of `clip` and a class head adapted to `texts`.

    If `weights` is the run of a detector, its arrays replace the random ones of the same name and shape.
    """
    variables = init(clip.config, config.detector, jax.random.key(config.seed), clip.variables)
    params, stats = variables["params"], variables["batch_stats"]
    if config.weights and is_detector(config.weights):
        trained = load_detector(config.weights)
        params = _with_matching_arrays(params, trained.variables["params"])
        stats = _with_matching_arrays(stats, trained.variables["batch_stats"])
        if np.array_equal(trained.embeddings, texts):  # its class head is already adapted to these prompts
            return {"params": params, "batch_stats": stats}
    return {"params": {**params, "class_head": fit_whitening(params["class_head"], texts)}, "batch_stats": stats}


def _with_matching_arrays(tree: dict[str, Any], trained: dict[str, Any]) -> dict[str, Any]:
    """`tree` with the arrays of `trained` that have the same path and shape."""

    def merged(own: Any, other: Any) -> Any:
        if isinstance(own, dict):
            return {name: merged(value, other.get(name)) if other else value for name, value in own.items()}
        return own if other is None or np.shape(other) != np.shape(own) else other

    return dict(merged(tree, trained))
