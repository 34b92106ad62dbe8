"""Loading a CLIP from wherever its weights are: a converted directory, or an `align` run."""

from pathlib import Path

from remoteclip_jax.clip.config import architecture
from remoteclip_jax.clip.inference import RemoteCLIP
from remoteclip_jax.clip.weights import load_weights
from remoteclip_jax.config import load_config
from remoteclip_jax.errors import UserError
from remoteclip_jax.run_directory import RunDirectory
from remoteclip_jax.training.checkpoint import Checkpoints


def is_run(path: Path) -> bool:
    """Whether `path` is the directory of a training run (and not of converted weights)."""
    return RunDirectory(path).metrics.exists() or RunDirectory(path).checkpoints.is_dir()


def load(path: str | Path) -> RemoteCLIP:
    """Converted weights (`python -m convert`), or the best checkpoint of an `align` run, as an immutable value.

    UserError where `path` is neither, or is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such directory; expected converted weights (python -m convert) or an align run")
    clip = load_run(path) if is_run(path) else RemoteCLIP(*load_weights(path))
    if "visual" not in clip.variables["params"]:
        raise UserError(f"{path} holds a text tower alone; name the run or the weights that it belongs to")
    return clip


def load_run(path: Path) -> RemoteCLIP:
    """The towers of an `align` run at its best checkpoint; without the text tower where the run had none."""
    run = RunDirectory(path)
    config = load_config(run.config)
    if not run.checkpoints.is_dir():
        raise UserError(f"{path} has no checkpoint yet: let the training reach its first one")
    checkpoints = Checkpoints(run.checkpoints)
    step = checkpoints.best()
    if step is None:
        raise UserError(f"{path} has no checkpoint yet: let the training reach its first one")
    trained = checkpoints.restore_weights(step)
    clip_config, params = architecture(config.arch), dict(trained["params"])
    if run.frozen.is_dir():
        clip_config, frozen = load_weights(run.frozen)
        params = {**frozen["params"], **params}
    return RemoteCLIP(clip_config, {"params": params, "batch_stats": trained["batch_stats"]})
