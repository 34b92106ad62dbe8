"""From settings to a finished run with its report: what `train.py` does."""

import os
import time
from pathlib import Path
from typing import Any

import jax

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.config import PATH_FIELDS, TrainConfig
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.lock import exclusive_lock
from remoteclip_jax.runtime.devices import check_processes
from remoteclip_jax.tasks.configuration import load_config, new_config, resumed_config
from remoteclip_jax.tasks.registry import DEFAULT, find_task
from remoteclip_jax.tasks.reporting import write_report
from remoteclip_jax.training import loop


def train(settings: dict[str, Any], workdir: Path | None = None) -> Path:
    """Run or resume a task and write its report; returns the run directory.

    `settings` are those that the user named (see `configuration.new_config`). UserError for whatever a user can put
    right.
    """
    begin = time.monotonic()
    check_processes()
    for name in PATH_FIELDS:  # a run goes on from wherever it is started
        if settings.get(name):
            settings = {**settings, name: os.path.abspath(settings[name])}
    run = RunDirectory(workdir) if workdir else RunDirectory.new(settings.get("task", DEFAULT))
    _configuration(run, settings)  # what is wrong with the settings shows before anything is written
    with exclusive_lock(run):
        config = _open_run(run, settings)
        loop.train(find_task(config.task), run, config, begin)
        write_report(run)
        print(f"report: {run.report}")
    return run.root


def _configuration(run: RunDirectory, settings: dict[str, Any]) -> TrainConfig:
    """That of the run that the directory holds already, or a new one. UserError where it holds something else."""
    if run.config.exists() and run.has_begun():
        for name in ("classes", "text_embeddings"):  # a run can do without them, but not with a typing error
            if name in settings and not Path(settings[name]).exists():
                raise UserError(f"--{name}={settings[name]}: no such file")
        return resumed_config(load_config(run.config), settings, run.root)
    new = not run.root.exists() or (run.root.is_dir() and all(path == run.lock for path in run.root.iterdir()))
    if not new and not run.config.exists():
        raise UserError(f"{run.root} exists and holds no run (no config.json): choose another --workdir")
    return new_config(settings, accelerator=jax.default_backend() != "cpu")


def _open_run(run: RunDirectory, settings: dict[str, Any]) -> TrainConfig:
    """The configuration, which a new run's directory holds from now on."""
    config = _configuration(run, settings)
    if run.has_begun() and "weights" in settings:
        print(f"--weights={settings['weights']} is not read: this run goes on from its own checkpoint")
    if not run.has_begun():
        run.clear()  # what never came to its first step, perhaps for a wrong flag, is nothing to keep
        config.save(run.config)
    return config
