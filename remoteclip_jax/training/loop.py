"""From settings to a finished run: prepare or resume, plan, train, evaluate, report."""

import contextlib
import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from remoteclip_jax.data.pipeline import steps_per_epoch
from remoteclip_jax.errors import UserError
from remoteclip_jax.report import write_report
from remoteclip_jax.runs.checkpoints import Checkpoints
from remoteclip_jax.runs.config import PATHS, TrainConfig, load_config, new_config, resumed_config
from remoteclip_jax.runs.data import check_same_data
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.lock import exclusive
from remoteclip_jax.runs.metrics_log import drop_rows_after, read_rows
from remoteclip_jax.runs.setup import (
    check_batches,
    prepare_data,
    prepare_texts,
    prepare_towers,
    write_summary,
)
from remoteclip_jax.runtime.devices import AXIS, check_processes, parallel, replicate, split_batch
from remoteclip_jax.training import align, detect, timing
from remoteclip_jax.training.epochs import planned, run_training
from remoteclip_jax.training.optimizer import make_optimizer, make_schedule
from remoteclip_jax.training.plan import Plan
from remoteclip_jax.training.state import TrainState, create_state, evaluated
from remoteclip_jax.training.step import make_train_step
from remoteclip_jax.training.workload import Step, Task

TASKS = {"align": align.make_task, "detect": detect.make_task}
# The first steps compile, and those after them share the processor with the pipeline that fills its buffers.
UNTIMED_STEPS, TIMED_STEPS = 4, 8
REHEARSED = 32  # images by which the time of an evaluation is estimated
FEW_STEPS = 50  # below which nothing is learned


def train(settings: dict[str, Any], workdir: Path | None = None) -> Path:
    """Run or resume a task and write its report; returns the run directory.

    `settings` are the fields of `TrainConfig` that the user named. UserError for whatever a user can put right.
    """
    begin = time.monotonic()
    check_processes()
    for name in PATHS:  # a run goes on from wherever it is started
        if settings.get(name):
            settings = {**settings, name: os.path.abspath(settings[name])}
    run = RunDirectory(workdir) if workdir else RunDirectory.new(settings.get("task", "align"))
    _configuration(run, settings)  # what is wrong with the settings shows before anything is written
    with exclusive(run):
        _train(run, _open_run(run, settings), begin)
    return run.root


def _train(run: RunDirectory, config: TrainConfig, begin: float) -> None:
    print(f"run directory: {run.root}")
    if config.data_dir and run.has_begun() and not Path(config.data_dir).is_dir():
        raise UserError(
            f"{config.data_dir}: no such directory; where the run's data have moved, name them anew: --data_dir=DIR"
        )
    data = prepare_data(config, run)
    print("\n".join(data.notes))
    check_same_data(run, data)
    check_batches(config, data)  # what cannot work fails before anything slow
    per_epoch = steps_per_epoch(data.train, config.batch_size)
    with Checkpoints(run.checkpoints, config.checkpoint_every * per_epoch) as checkpoints:
        latest = checkpoints.latest()
        towers = None
        if latest is None:
            if not config.weights:
                print("the image tower starts at random: --weights=DIR (from python -m convert) starts from RemoteCLIP")
            towers = prepare_towers(config, run)
            config = dataclasses.replace(config, arch=towers.config.arch)
        task = TASKS[config.task](config, run, towers, prepare_texts(config, run, data.classes, towers), data)
        optimizer = make_optimizer(config)
        step = parallel(
            make_train_step(
                task.loss, optimizer, make_schedule(config), backbone=config.backbone, ema=config.ema, axis_name=AXIS
            ),
            donate_first=True,
        )

        def first(variables: Any) -> TrainState:
            return create_state(variables, optimizer, total_steps=0, ema=config.ema > 0, seed=config.seed)

        if latest is None:
            state = replicate(first(task.variables()))
        else:
            state = checkpoints.restore(jax.eval_shape(first, task.shapes()), latest)
        write_summary(run, config, data, state.params, towers)
        fit = None
        if config.total_steps is None:
            total, align_steps = config.epochs * task.per_epoch, config.align_steps
            if latest is None:
                align_steps = int(task.align_share * total)
            if config.max_minutes is not None and latest is None:
                fit = _fit(config, task, state, step, begin)
                total, align_steps = fit.steps(0, None)
                _tell_fit(total, config.max_minutes, begin)
            if config.max_steps is not None and total > config.max_steps:
                total = config.max_steps
                align_steps = align_steps if latest is not None else int(task.align_share * total)
            config = dataclasses.replace(
                config, total_steps=total, align_steps=align_steps, fits=((0, total, align_steps),) if fit else ()
            )
        config.save(run.config)
        done = int(jax.device_get(state.step))
        plan = Plan(config, run.config, done, fit)
        state = state._replace(**planned(plan))
        drop_rows_after(run.metrics, done)
        finished = done >= plan.total and done >= (config.total_steps or 0)
        if finished and not read_rows(run.metrics):
            raise UserError(f"--max_steps={config.max_steps} is no more than the {done} steps that {run.root} has done")
        if finished:
            print(f"this run is finished ({done} steps); give more --epochs to go on")
        else:
            print(f"training from step {done} to {plan.total}, {task.per_epoch} an epoch")
            run_training(config, run, task, step, state, plan, checkpoints)
    if task.finish is not None and not (finished and run.evaluated()):
        saved = Checkpoints(run.checkpoints)
        best = saved.best()
        assert best is not None
        task.finish(saved.restore_weights(best))
    write_report(run)
    print(f"report: {run.report}")


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


def _fit(config: TrainConfig, task: Task, state: TrainState, step: Step, begin: float) -> timing.Fit:
    """The fit of steps to `max_minutes` since `begin`, from a few trial steps; compiles what training needs."""
    assert config.max_minutes is not None
    fit = timing.Fit(
        config.max_minutes,
        begin,
        task.align_share,
        config.validations if task.evaluate else 0,
        task.per_epoch,
        task.finish_share,
        most=config.max_steps,
    )
    trial = replicate(state)  # a copy: a step consumes its argument
    many = 10**6  # with a schedule, or its first steps would divide by nothing

    def pace(align_steps: int) -> float:
        nonlocal trial
        steps = replicate({"total_steps": jnp.asarray(many, jnp.int32), "align_steps": jnp.asarray(align_steps)})
        trial = trial._replace(**steps)
        with contextlib.closing(task.batches(0, align_steps)) as batches:

            def one_step() -> None:
                nonlocal trial
                trial, metrics = step(trial, split_batch(next(batches)))
                jax.block_until_ready(metrics)

            for _ in range(UNTIMED_STEPS):
                one_step()
            start = time.monotonic()
            for _ in range(TIMED_STEPS):
                one_step()
            return (time.monotonic() - start) / TIMED_STEPS

    fit.step_seconds = pace(0)
    if task.align_share:
        fit.align_seconds = pace(many)
    if task.rehearse is not None:
        variables, some = evaluated(trial), min(task.rehearsed, max(REHEARSED, 2 * config.batch_size))
        task.rehearse(variables, some)  # compiles
        start = time.monotonic()
        task.rehearse(variables, some)
        fit.evaluation = (time.monotonic() - start) * task.rehearsed / some
    return fit


def _tell_fit(total: int, minutes: float, begin: float) -> None:
    print(f"{total} steps fit into {minutes:g} minutes; fitted again as the pace becomes known")
    if total < FEW_STEPS:
        print(
            f"warning: so few steps learn nothing. The start took {time.monotonic() - begin:.0f} s, most of it to "
            "compile, which another start need not do again: give more --max_minutes"
        )
