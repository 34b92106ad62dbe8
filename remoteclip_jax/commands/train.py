"""Train: `python train.py` fine-tunes the image tower of RemoteCLIP on synthetic data; see --help for your own."""

from pathlib import Path

from remoteclip_jax import errors
from remoteclip_jax.commands.config_flags import define_config_flags, define_set_flag
from remoteclip_jax.path_flags import DEFINE_path

_WORKDIR = DEFINE_path("workdir", None, "run directory; a run in it is resumed (runs/TASK-DATE-TIME)")
_user_settings = define_config_flags()
_set_assignments = define_set_flag()


def main() -> None:
    """Train or resume the run that the flags name."""
    settings = _user_settings()
    if assignments := _set_assignments():
        settings["set"] = assignments

    from remoteclip_jax.runtime.compilation import enable_compilation_cache
    from remoteclip_jax.runtime.memory import keep_freed_memory
    from remoteclip_jax.tasks.training import train

    keep_freed_memory()
    enable_compilation_cache()
    train(settings, Path(_WORKDIR.value) if _WORKDIR.value else None)


def run() -> None:
    """The command `remoteclip-train`."""
    errors.run(main)
