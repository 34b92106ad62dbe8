"""The towers and class embeddings that a run starts with. The frozen ones are stored in its directory."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from remoteclip_jax.clip.config import architecture
from remoteclip_jax.clip.inference import RemoteCLIP, class_embeddings
from remoteclip_jax.clip.model import init, one_tower
from remoteclip_jax.clip.text_embeddings import TextEmbeddings, load_text_embeddings
from remoteclip_jax.clip.weights import save_weights
from remoteclip_jax.data.classes import class_index
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.directory import RunDirectory


def prepare_towers(config: TrainConfig, run: RunDirectory, load: Callable[[str], RemoteCLIP]) -> RemoteCLIP:
    """The towers that training starts from: those that `load` reads from `weights`, or random ones. The frozen text
    tower is written into the run directory, and read from there later."""
    if not config.weights:
        print("the image tower starts from random weights; --weights=DIR (from python -m convert) gives RemoteCLIP's")
    clip = load(config.weights) if config.weights else None
    clip_config = clip.config if clip else architecture(config.arch)
    with_text_tower = not config.text_embeddings
    if clip is None:
        clip = RemoteCLIP(clip_config, init(clip_config, jax.random.key(config.seed), with_text_tower))
    if not with_text_tower:  # it encodes no text, so it is not part of this run
        return RemoteCLIP(clip_config, one_tower(clip.variables, "visual"))
    if not run.text_tower.exists():
        frozen = {name: value for name, value in clip.variables["params"].items() if name != "visual"}
        save_weights(run.text_tower, clip_config, {"params": frozen, "batch_stats": {}}, {"part": "frozen"})
    return clip


def prepare_texts(
    config: TrainConfig, run: RunDirectory, classes: tuple[str, ...], clip: RemoteCLIP | None
) -> Float[Array, "k d"]:
    """The embeddings of `classes` that the run trains against.

    At the first start of a run they are the user's, or are encoded by the text tower of `clip`, and are stored in the
    run directory. Later starts read them from there.
    """
    dim = architecture(config.arch).embed_dim
    if not run.text_embeddings.exists():
        if config.text_embeddings:
            given = load_text_embeddings(Path(config.text_embeddings), dim)
            rows = [class_index(name, given.class_names, config.text_embeddings) for name in classes]
            embeddings = given.embeddings[np.array(rows)]
        elif clip is None:
            raise UserError(f"{run.text_embeddings} is missing: put it back, or choose another --workdir")
        else:
            embeddings = np.asarray(class_embeddings(clip, classes))
        TextEmbeddings(classes, embeddings).save(run.text_embeddings)
    # Read back even when just written. Normalising again may change a last bit, and a resumed run must see the same.
    return jnp.asarray(load_text_embeddings(run.text_embeddings, dim).embeddings)


def frozen_parameter_counts(clip: RemoteCLIP | None) -> dict[str, int]:
    """The number of parameters of the frozen text tower, as {"text": n}; empty if there is none."""
    if clip is None or not clip.has_text_tower:
        return {}
    return {"text": int(sum(np.size(x) for x in jax.tree.leaves(clip.variables["params"]["text"])))}
