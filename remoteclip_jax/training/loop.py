"""From a configuration to trained and evaluated weights: prepare or resume, plan, train, evaluate."""

import contextlib
import dataclasses
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp

from remoteclip_jax.data.pipeline import steps_per_epoch
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.checkpoints import Checkpoints
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.data import RunData, check_same_data
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.metrics_log import drop_rows_after, read_rows
from remoteclip_jax.runs.splits import check_batches
from remoteclip_jax.runs.summary import write_summary
from remoteclip_jax.runtime.devices import AXIS, parallel, replicate
from remoteclip_jax.training.epochs import run_training, step_counts
from remoteclip_jax.training.plan import Plan
from remoteclip_jax.training.program import Program
from remoteclip_jax.training.state import TrainState, create_state, evaluation_variables, repacked, unpacked
from remoteclip_jax.training.step import make_train_step
from remoteclip_jax.training.stream import BatchStream
from remoteclip_jax.training.task import Task
from remoteclip_jax.training.timing import Fit
from remoteclip_jax.training.workload import Step, Workload

# The first trial steps compile. The next ones share the processor with the pipeline, which fills its buffers.
UNTIMED_TRIAL_STEPS, TIMED_TRIAL_STEPS = 4, 8
REHEARSAL_IMAGES = 32  # the time of an evaluation is estimated from this many images, or from two batches
FEW_STEPS = 50  # with fewer steps, nothing is learned
TRIAL_TOTAL_STEPS = 10**6  # the schedule needs some number of steps, and divides by it


def train(task: Task, run: RunDirectory, config: TrainConfig, begin: float) -> None:
    """Train or resume `run`, and evaluate it at the end. The caller holds the run's lock (see `files.lock`).

    `begin` is the time at which the program started, by `time.monotonic`. UserError for whatever a user can fix.
    """
    print(f"run directory: {run.root}")
    data = _read_data(task, run, config)
    epoch_steps = steps_per_epoch(data.train, config.batch_size)
    with Checkpoints(run.checkpoints, task.ranking, config.checkpoint_every * epoch_steps) as checkpoints:
        resumed = checkpoints.latest_step() is not None
        workload = task.prepare(config, run, data, resumed)
        config = workload.config
        step = _parallel_step(config, workload)
        state = _initial_state(config, workload, checkpoints)
        write_summary(run, data, workload.shapes()["params"], workload.frozen_counts)
        fit = None
        if config.total_steps is None:
            if config.max_minutes is not None and not resumed:
                fit = _fit_from_trial(config, workload, state, step, begin)
            config = _with_step_counts(config, workload, fit, resumed, begin)
        config.save(run.config)
        done = int(jax.device_get(state.step))
        plan = Plan(config, run.config, done, fit)
        state = state._replace(**step_counts(plan))
        drop_rows_after(run.metrics, done)
        finished = done >= plan.total and done >= (config.total_steps or 0)
        if finished and not read_rows(run.metrics):
            raise UserError(f"--max_steps={config.max_steps} is no more than the {done} steps that {run.root} has done")
        if finished:
            print(f"this run is finished ({done} steps); give more --epochs to go on")
        else:
            print(f"training from step {done} to {plan.total}, {workload.steps_per_epoch} per epoch")
            run_training(config, run, workload, task.ranking, step, state, plan, checkpoints)
    if workload.finish is not None and not (finished and run.has_evaluation()):
        saved = Checkpoints(run.checkpoints, task.ranking)
        best = saved.best_step()
        assert best is not None
        workload.finish(saved.restore_weights(best))


def _read_data(task: Task, run: RunDirectory, config: TrainConfig) -> RunData:
    """The data of the run. They are checked here, so that whatever is wrong with them shows before anything slow."""
    if config.data_dir and run.has_begun() and not Path(config.data_dir).is_dir():
        raise UserError(
            f"{config.data_dir}: no such directory; if the run's data have moved, name the new folder: --data_dir=DIR"
        )
    data = task.read(config, run)
    print("\n".join(data.notes))
    check_same_data(run, data)
    check_batches(config, data)
    return data


def _parallel_step(config: TrainConfig, workload: Workload) -> Step:
    """The training step on all local devices. It consumes the state that it is given."""
    return Program(parallel(make_train_step(workload.loss, config, workload.rules, AXIS), donate_first=True), config)


def _initial_state(config: TrainConfig, workload: Workload, checkpoints: Checkpoints) -> TrainState:
    """The state of the last checkpoint, or a new one if there is none."""
    new_state = partial(create_state, config=config, rules=workload.rules)
    latest = checkpoints.latest_step()
    if latest is None:
        return replicate(new_state(workload.variables()))
    shapes = jax.eval_shape(new_state, workload.shapes())
    return repacked(shapes, checkpoints.restore(jax.eval_shape(unpacked, shapes), latest))


def _with_step_counts(
    config: TrainConfig, workload: Workload, fit: Fit | None, resumed: bool, begin: float
) -> TrainConfig:
    """`config` with the number of steps in total and in the first phase: from the epochs, from `max_steps`, or from
    `fit`. A resumed run has its first phase as it was."""
    total = config.epochs * workload.steps_per_epoch
    first_steps = config.first_steps if resumed else int(workload.first_share * total)
    if fit is not None:
        total, first_steps = fit.step_counts(0, None)
        _print_fit(total, fit.minutes, begin)
    if config.max_steps is not None and total > config.max_steps:
        total = config.max_steps
        first_steps = first_steps if resumed else int(workload.first_share * total)
    fits = ((0, total, first_steps),) if fit is not None else ()
    return dataclasses.replace(config, total_steps=total, first_steps=first_steps, fits=fits)


def _fit_from_trial(config: TrainConfig, workload: Workload, state: TrainState, step: Step, begin: float) -> Fit:
    """A fit to `max_minutes` since `begin`, from the times of some trial steps and of a small evaluation. This also
    compiles what training needs."""
    assert config.max_minutes is not None
    fit = Fit(
        config.max_minutes,
        begin,
        workload.first_share,
        config.validations if workload.evaluate else 0,
        workload.steps_per_epoch,
        workload.finish_share,
        max_steps=config.max_steps,
    )
    trial = replicate(state)  # a copy, because a step consumes its argument

    def seconds_per_step(first_steps: int) -> float:
        nonlocal trial
        counts = {"total_steps": jnp.asarray(TRIAL_TOTAL_STEPS, jnp.int32), "first_steps": jnp.asarray(first_steps)}
        trial = trial._replace(**replicate(counts))
        with contextlib.closing(BatchStream(workload, 0, first_steps)) as stream:

            def steps(count: int) -> None:
                nonlocal trial
                for _ in range(count):
                    trial, metrics = step(trial, next(stream))
                    stream.read_ahead()
                jax.block_until_ready(metrics)

            steps(UNTIMED_TRIAL_STEPS)
            start = time.monotonic()
            steps(TIMED_TRIAL_STEPS)
            return (time.monotonic() - start) / TIMED_TRIAL_STEPS

    fit.step_seconds = seconds_per_step(0)
    if workload.first_share:
        fit.first_seconds = seconds_per_step(TRIAL_TOTAL_STEPS)
    if workload.rehearse is not None:
        variables = evaluation_variables(trial)
        images = min(workload.rehearsal_images, max(REHEARSAL_IMAGES, 2 * config.batch_size))
        workload.rehearse(variables, images)  # compiles
        start = time.monotonic()
        workload.rehearse(variables, images)
        fit.evaluation_seconds = (time.monotonic() - start) * workload.rehearsal_images / images
    return fit


def _print_fit(total: int, minutes: float, begin: float) -> None:
    print(f"{total} steps fit into {minutes:g} minutes; the number is adjusted as the pace becomes known")
    if total < FEW_STEPS:
        print(
            f"warning: so few steps learn nothing. Starting took {time.monotonic() - begin:.0f} s, mostly for "
            "compilation, which is cached for the next start: give more --max_minutes"
        )
