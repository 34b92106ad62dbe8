"""Loading a CLIP or a detector from wherever its weights are: a converted directory, or a run."""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from remoteclip_jax.clip.config import architecture
from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.clip.model import Variables
from remoteclip_jax.clip.text_embeddings import load_text_embeddings
from remoteclip_jax.clip.weights import load_weights
from remoteclip_jax.detector.inference import TrainedDetector
from remoteclip_jax.detector.model import detector_shapes
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.checkpoints import Checkpoints
from remoteclip_jax.runs.config import TrainConfig, load_config
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.wrong_path import check_directory


def is_run(path: Path) -> bool:
    """Whether `path` is the directory of a training run (and not of converted weights)."""
    return RunDirectory(path).metrics.exists() or RunDirectory(path).checkpoints.is_dir()


def load(path: str | Path) -> RemoteCLIP:
    """Converted weights (`python -m convert`), or the best checkpoint of an `align` run, as an immutable value.

    UserError where `path` is neither, or is damaged.
    """
    path = Path(path)
    check_directory(path, "converted weights (python -m convert) or an align run")
    clip = load_run(path) if is_run(path) else RemoteCLIP(*load_weights(path))
    if "visual" not in clip.variables["params"]:
        raise UserError(f"{path} holds a text tower alone; name the run or the weights that it belongs to")
    # On the device, where they stay from call to call.
    return dataclasses.replace(clip, variables=jax.device_put(clip.variables))


def load_towers(path: str | Path) -> RemoteCLIP:
    """As `load`, but also of a `detect` run, whose image tower has been trained to detect."""
    if not is_detect_run(path):
        return load(path)
    detector = load_detector(path)
    params = {"visual": detector.variables["params"]["visual"]}
    if detector.text is not None:
        params |= detector.text.variables["params"]
    return RemoteCLIP(
        detector.clip, {"params": params, "batch_stats": {"visual": detector.variables["batch_stats"]["visual"]}}
    )


def is_detect_run(path: str | Path) -> bool:
    """Whether `path` is the directory of a `detect` run."""
    return is_run(Path(path)) and load_config(RunDirectory(Path(path)).config).task == "detect"


def load_run(path: Path) -> RemoteCLIP:
    """The towers of an `align` run at its best checkpoint; without the text tower where the run had none."""
    run, config, trained = _best(path, "align")
    clip_config, params = architecture(config.arch), dict(trained["params"])
    if run.frozen.is_dir():
        clip_config, frozen = load_weights(run.frozen)
        params = {**frozen["params"], **params}
    return RemoteCLIP(clip_config, {"params": params, "batch_stats": trained["batch_stats"]}, config.dtype)


def load_detector(path: str | Path) -> TrainedDetector:
    """The detector of a `detect` run at its best checkpoint, as an immutable value.

    UserError where `path` is no such run, has no checkpoint yet, or is damaged.
    """
    path = Path(path)
    check_directory(path, "a run of train.py --task=detect")
    if not is_run(path):
        raise UserError(f"{path} is no training run, or none that has begun; expected one of train.py --task=detect")
    run, config, trained = _best(path, "detect")
    clip_config, text = architecture(config.arch), None
    if run.frozen.is_dir():
        clip_config, frozen = load_weights(run.frozen)
        text = RemoteCLIP(clip_config, frozen)
    if config.detector is None:
        raise UserError(f"{run.config} is damaged: it does not tell the detector's shape")
    expected = detector_shapes(clip_config, config.detector)
    shapes = [jax.tree.map(np.shape, {name: tree[name] for name in expected}) for tree in (expected, trained)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"{path}: its checkpoint does not fit its config.json: one of them was changed, or comes from another "
            f"version; put it back, or train again"
        )
    texts = load_text_embeddings(run.text_embeddings, clip_config.embed_dim)
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
    )


_OTHER = {
    "align": "is an align run, which classifies images (eval.py) and detects nothing; train.py --task=detect trains a "
    "detector, and takes this run as its --weights",
    "detect": "is a detect run, where an align run or converted weights are expected; it is for "
    "python -m remoteclip_jax.detect, eval.py and rc.load_detector",
}


def _best(path: Path, task: str) -> tuple[RunDirectory, TrainConfig, Variables]:
    """A run of `task`, its configuration, and the weights of its best checkpoint."""
    run = RunDirectory(path)
    config = load_config(run.config)
    if config.task != task:
        raise UserError(f"{path} {_OTHER[config.task]}")
    checkpoints = Checkpoints(run.checkpoints) if run.checkpoints.is_dir() else None
    step = checkpoints.best() if checkpoints else None
    if checkpoints is None or step is None:
        raise UserError(f"{path} has no checkpoint yet: let the training reach its first one")
    return run, config, checkpoints.restore_weights(step)
