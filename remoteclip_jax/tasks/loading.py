"""Loading a CLIP from converted weights, or from a run of any task that contains one."""

import dataclasses
from pathlib import Path

import jax

from remoteclip_jax.clip.config import architecture
from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.clip.model import Variables
from remoteclip_jax.clip.weights import load_weights
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.checkpoints import Checkpoints
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.wrong_path import check_directory
from remoteclip_jax.tasks.configuration import load_config
from remoteclip_jax.tasks.registry import find_task


def load(path: str | Path) -> RemoteCLIP:
    """The CLIP in a directory of converted weights (`python -m convert`), or the best checkpoint of a run that is made
    to embed images. UserError if `path` is neither, or is damaged.
    """
    path = Path(path)
    if (task := task_of_run(path)) and not find_task(task).embeds:
        raise UserError(f"{path} {find_task(task).purpose}")
    return load_towers(path)


def load_towers(path: str | Path) -> RemoteCLIP:
    """Like `load`, but for any run that contains a CLIP. The image tower of a detector, for example, is trained to
    detect, and not to embed images."""
    path = Path(path)
    check_directory(path, "converted weights (python -m convert), or an align or contrast run")
    task = task_of_run(path)
    clip = find_task(task).towers(path) if task else RemoteCLIP(*load_weights(path))
    if "visual" not in clip.variables["params"]:
        raise UserError(f"{path} holds a text tower alone; name the run or the weights that it belongs to")
    # Put on the device once, rather than at every call.
    return dataclasses.replace(clip, variables=jax.device_put(clip.variables))


def task_of_run(path: str | Path) -> str | None:
    """The name of the task of the run in `path`; None if there is no run."""
    run = RunDirectory(Path(path))
    return load_config(run.config).task if run.is_run() else None


def best_checkpoint(path: Path) -> tuple[RunDirectory, TrainConfig, Variables]:
    """A run's directory, its configuration, and the weights of its best checkpoint. UserError if there is none yet."""
    run = RunDirectory(path)
    config = load_config(run.config)
    ranking = find_task(config.task).ranking
    checkpoints = Checkpoints(run.checkpoints, ranking) if run.checkpoints.is_dir() else None
    best = checkpoints.best_step() if checkpoints else None
    if checkpoints is None or best is None:
        raise UserError(f"{path} has no checkpoint yet: let the training reach its first one")
    return run, config, checkpoints.restore_weights(best)


def run_towers(path: Path) -> RemoteCLIP:
    """The towers of a run that trains a CLIP, at its best checkpoint. The text tower is missing if the run has none."""
    run, config, trained = best_checkpoint(path)
    clip_config, params = architecture(config.arch), dict(trained["params"])
    if run.text_tower.is_dir():
        clip_config, frozen = load_weights(run.text_tower)
        params = {**frozen["params"], **params}
    return RemoteCLIP(clip_config, {"params": params, "batch_stats": trained["batch_stats"]}, config.dtype)
