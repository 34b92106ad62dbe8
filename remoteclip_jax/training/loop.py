"""From a configuration to trained and evaluated weights: prepare or resume, plan, train, evaluate."""

import contextlib
import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from remoteclip_jax.data.pipeline import steps_per_epoch
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.checkpoints import Checkpoints
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.data import check_same_data
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.metrics_log import drop_rows_after, read_rows
from remoteclip_jax.runs.splits import check_batches
from remoteclip_jax.runs.summary import write_summary
from remoteclip_jax.runtime.devices import AXIS, parallel, replicate, split_batch
from remoteclip_jax.training import timing
from remoteclip_jax.training.epochs import planned, run_training
from remoteclip_jax.training.optimizer import make_optimizer, make_schedule
from remoteclip_jax.training.plan import Plan
from remoteclip_jax.training.state import TrainState, create_state, evaluated
from remoteclip_jax.training.step import make_train_step
from remoteclip_jax.training.task import Task
from remoteclip_jax.training.workload import Step, Workload

# The first steps compile, and those after them share the processor with the pipeline that fills its buffers.
UNTIMED_STEPS, TIMED_STEPS = 4, 8
REHEARSED = 32  # images by which the time of an evaluation is estimated
FEW_STEPS = 50  # below which nothing is learned


def train(task: Task, run: RunDirectory, config: TrainConfig, begin: float) -> None:
    """Train or resume `run`, which nobody else may do meanwhile (see `runs.lock`), and evaluate it at the end.
    `begin` is when the program started, of `time.monotonic`. UserError for whatever a user can put right."""
    print(f"run directory: {run.root}")
    if config.data_dir and run.has_begun() and not Path(config.data_dir).is_dir():
        raise UserError(
            f"{config.data_dir}: no such directory; where the run's data have moved, name them anew: --data_dir=DIR"
        )
    data = task.read(config, run)
    print("\n".join(data.notes))
    check_same_data(run, data)
    check_batches(config, data)  # what cannot work fails before anything slow
    per_epoch = steps_per_epoch(data.train, config.batch_size)
    with Checkpoints(run.checkpoints, task.ranking, config.checkpoint_every * per_epoch) as checkpoints:
        latest = checkpoints.latest()
        workload = task.prepare(config, run, data, latest is not None)
        config = workload.config
        optimizer = make_optimizer(config, workload.rules)
        step = parallel(
            make_train_step(
                workload.loss,
                optimizer,
                make_schedule(config),
                rules=workload.rules,
                backbone=config.backbone,
                ema=config.ema,
                axis_name=AXIS,
            ),
            donate_first=True,
        )

        def first(variables: Any) -> TrainState:
            return create_state(variables, optimizer, total_steps=0, ema=config.ema > 0, seed=config.seed)

        if latest is None:
            state = replicate(first(workload.variables()))
        else:
            state = checkpoints.restore(jax.eval_shape(first, workload.shapes()), latest)
        write_summary(run, data, state.params, workload.frozen)
        fit = None
        if config.total_steps is None:
            total, first_steps = config.epochs * workload.per_epoch, config.first_steps
            if latest is None:
                first_steps = int(workload.first_share * total)
            if config.max_minutes is not None and latest is None:
                fit = _fit(config, workload, state, step, begin)
                total, first_steps = fit.steps(0, None)
                _tell_fit(total, config.max_minutes, begin)
            if config.max_steps is not None and total > config.max_steps:
                total = config.max_steps
                first_steps = first_steps if latest is not None else int(workload.first_share * total)
            config = dataclasses.replace(
                config,
                total_steps=total,
                first_steps=first_steps,
                fits=((0, total, first_steps),) if fit else (),
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
            print(f"training from step {done} to {plan.total}, {workload.per_epoch} an epoch")
            run_training(config, run, workload, task.ranking, step, state, plan, checkpoints)
    if workload.finish is not None and not (finished and run.evaluated()):
        saved = Checkpoints(run.checkpoints, task.ranking)
        best = saved.best()
        assert best is not None
        workload.finish(saved.restore_weights(best))


def _fit(config: TrainConfig, workload: Workload, state: TrainState, step: Step, begin: float) -> timing.Fit:
    """The fit of steps to `max_minutes` since `begin`, from a few trial steps; compiles what training needs."""
    assert config.max_minutes is not None
    fit = timing.Fit(
        config.max_minutes,
        begin,
        workload.first_share,
        config.validations if workload.evaluate else 0,
        workload.per_epoch,
        workload.finish_share,
        most=config.max_steps,
    )
    trial = replicate(state)  # a copy: a step consumes its argument
    many = 10**6  # with a schedule, or its first steps would divide by nothing

    def pace(first_steps: int) -> float:
        nonlocal trial
        steps = replicate({"total_steps": jnp.asarray(many, jnp.int32), "first_steps": jnp.asarray(first_steps)})
        trial = trial._replace(**steps)
        with contextlib.closing(workload.batches(0, first_steps)) as batches:

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
    if workload.first_share:
        fit.first_seconds = pace(many)
    if workload.rehearse is not None:
        variables, some = evaluated(trial), min(workload.rehearsed, max(REHEARSED, 2 * config.batch_size))
        workload.rehearse(variables, some)  # compiles
        start = time.monotonic()
        workload.rehearse(variables, some)
        fit.evaluation = (time.monotonic() - start) * workload.rehearsed / some
    return fit


def _tell_fit(total: int, minutes: float, begin: float) -> None:
    print(f"{total} steps fit into {minutes:g} minutes; fitted again as the pace becomes known")
    if total < FEW_STEPS:
        print(
            f"warning: so few steps learn nothing. The start took {time.monotonic() - begin:.0f} s, most of it to "
            "compile, which another start need not do again: give more --max_minutes"
        )
