"""Loading a detector from a run."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from remoteclip_jax.clip.config import architecture
from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.clip.text_embeddings import TextEmbeddings, load_text_embeddings
from remoteclip_jax.clip.weights import load_weights
from remoteclip_jax.data.classes import find_class_index
from remoteclip_jax.detector.inference import TrainedDetector
from remoteclip_jax.detector.model import detector_shapes
from remoteclip_jax.detector.regions import FROZEN
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.summary import read_usual_side
from remoteclip_jax.runs.thresholds import read_thresholds
from remoteclip_jax.runs.wrong_path import check_directory
from remoteclip_jax.tasks.configuration import load_config
from remoteclip_jax.tasks.loading import best_checkpoint
from remoteclip_jax.tasks.registry import find_task

from .config import DetectConfig


def is_detector(path: str | Path) -> bool:
    """Whether `path` is the directory of a run of this task."""
    run = RunDirectory(Path(path))
    return run.is_run() and isinstance(load_config(run.config), DetectConfig)


def load_detector(path: str | Path) -> TrainedDetector:
    """The detector of a `detect` run at its best checkpoint, as an immutable value.

    UserError if `path` is not such a run, has no checkpoint yet, or is damaged.
    """
    path = Path(path)
    check_directory(path, "a run of train.py --task=detect")
    if not RunDirectory(path).is_run():
        raise UserError(f"{path} is no training run, or has not begun; expected a run of train.py --task=detect")
    if not is_detector(path):
        raise UserError(f"{path} {find_task(load_config(RunDirectory(path).config).task).purpose}")
    run, config, trained = best_checkpoint(path)
    assert isinstance(config, DetectConfig)
    clip_config, text = architecture(config.arch), None
    if run.text_tower.is_dir():
        clip_config, frozen = load_weights(run.text_tower)
        text = RemoteCLIP(clip_config, frozen)
    expected = detector_shapes(clip_config, config.detector)
    shapes = [jax.tree.map(np.shape, {name: tree[name] for name in expected}) for tree in (expected, trained)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"{path}: its checkpoint does not fit its config.json. One of them was changed, or comes from another "
            f"version; put it back, or train again"
        )
    texts = load_text_embeddings(run.text_embeddings, clip_config.embed_dim)
    if run.frozen_tower.is_dir():
        trained = {**trained, FROZEN: jax.device_put(load_weights(run.frozen_tower)[1])}
    return TrainedDetector(
        clip_config,
        config.detector,
        trained,
        config.views,
        texts.class_names,
        texts.embeddings,
        text,
        config.dtype,
        config.max_detections,
        config.bands,
        read_usual_side(run),
        read_thresholds(run),
        without(texts, config.novel),
    )


def without(texts: TextEmbeddings, names: Sequence[str]) -> TextEmbeddings:
    """`texts` without the classes `names`."""
    kept = [i for i, name in enumerate(texts.class_names) if find_class_index(name, tuple(names)) is None]
    return TextEmbeddings(tuple(texts.class_names[i] for i in kept), texts.embeddings[kept])


def detector_towers(path: Path) -> RemoteCLIP:
    """The CLIP inside a detector. Its image tower has been trained to detect."""
    detector = load_detector(path)
    params = {"visual": detector.variables["params"]["visual"]}
    if detector.text is not None:
        params |= detector.text.variables["params"]
    statistics = {"visual": detector.variables["batch_stats"]["visual"]}
    return RemoteCLIP(detector.clip, {"params": params, "batch_stats": statistics})
