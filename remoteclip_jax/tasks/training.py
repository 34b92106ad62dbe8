"""Training, as `train.py` does it: from settings to a finished run with its report."""

import os
import time
from pathlib import Path
from typing import Any

import jax

from remoteclip_jax.errors import UserError
from remoteclip_jax.files.lock import exclusive_lock
from remoteclip_jax.runs.config import PATH_FIELDS, TrainConfig
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runtime.devices import check_processes
from remoteclip_jax.tasks.configuration import load_config, new_config, resumed_config
from remoteclip_jax.tasks.registry import DEFAULT_TASK, find_task
from remoteclip_jax.tasks.reporting import write_report
from remoteclip_jax.training import loop


def train(settings: dict[str, Any], workdir: Path | None = None) -> Path:
    """Train or resume a run, evaluate it, and write its report. Returns the run directory.

    `settings` are the user's (see `configuration.new_config`). Without a `workdir` a new run directory is made.
    UserError for whatever a user can fix.
    """
    begin = time.monotonic()
    check_processes()
    for name in PATH_FIELDS:  # absolute, so that a run can be resumed from any folder
        if settings.get(name):
            settings = {**settings, name: os.path.abspath(settings[name])}
    run = RunDirectory(workdir) if workdir else RunDirectory.new(settings.get("task", DEFAULT_TASK))
    _run_config(run, settings)  # errors in the settings show before anything is written
    with exclusive_lock(run.lock, "training", "--workdir"):
        config = _start_run(run, settings)
        loop.train(find_task(config.task), run, config, begin)
        write_report(run)
        print(f"report: {run.report}")
    return run.root


def _run_config(run: RunDirectory, settings: dict[str, Any]) -> TrainConfig:
    """The configuration of the run in the directory, or a new one. UserError if the directory holds something else."""
    if run.config.exists() and run.has_begun():
        for name in ("classes", "text_embeddings"):  # a run no longer needs these files, but a typing error must show
            if name in settings and not Path(settings[name]).exists():
                raise UserError(f"--{name}={settings[name]}: no such file")
        return resumed_config(load_config(run.config), settings, run.root)
    new = not run.root.exists() or (run.root.is_dir() and all(path == run.lock for path in run.root.iterdir()))
    if not new and not run.config.exists():
        raise UserError(f"{run.root} exists and holds no run (no config.json): choose another --workdir")
    return new_config(settings, accelerator=jax.default_backend() != "cpu")


def _start_run(run: RunDirectory, settings: dict[str, Any]) -> TrainConfig:
    """The configuration of the run. For a new run it is saved in the directory."""
    config = _run_config(run, settings)
    if run.has_begun() and "weights" in settings:
        print(f"--weights={settings['weights']} is not read: this run goes on from its own checkpoint")
    if not run.has_begun():
        run.clear()  # what a start left behind that never came to its first step, perhaps because of a wrong flag
        config.save(run.config)
    return config
