"""The training loop: step, and at each epoch's end evaluate, log, save, in this order, before the next batch is taken.

That order, and batches that depend on the seed and the step alone, make a resumed run end exactly as an unbroken one.
"""

import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from tqdm import tqdm

from remoteclip_jax.config import TrainConfig, load_config, new_config, resumed_config
from remoteclip_jax.errors import UserError
from remoteclip_jax.metrics_log import append_row, drop_rows_after, ranking, read_rows
from remoteclip_jax.parallel import AXIS, parallel, replicate, split_batch
from remoteclip_jax.report import write_report
from remoteclip_jax.run_directory import RunDirectory
from remoteclip_jax.training import align, detect, timing
from remoteclip_jax.training.checkpoint import Checkpoints
from remoteclip_jax.training.meter import Meter, NotFinite, check_finite
from remoteclip_jax.training.optimizer import make_optimizer, make_schedule
from remoteclip_jax.training.setup import check_batches, prepare_data, prepare_towers, write_summary
from remoteclip_jax.training.state import TrainState, create_state, evaluated
from remoteclip_jax.training.step import make_train_step
from remoteclip_jax.training.task import Task

Step = Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]

TASKS = {"align": align.make_task, "detect": detect.make_task}
# The first steps compile, and those after them share the processor with the pipeline that fills its buffers.
UNTIMED_STEPS, TIMED_STEPS = 8, 16


def train(settings: dict[str, Any], workdir: Path | None = None) -> Path:
    """Run or resume a task and write its report; returns the run directory.

    `settings` are the fields of `TrainConfig` that the user named. UserError for whatever a user can put right.
    """
    begin = time.monotonic()
    run, config = _open_run(settings, workdir)
    print(f"run directory: {run.root}")
    data = prepare_data(config, run)
    print("\n".join(data.notes) or f"{len(data.train)} training images")
    check_batches(config, data)  # what cannot work fails before anything slow
    if not config.weights:
        print("the image tower starts at random: --weights=DIR (from python -m convert) starts from RemoteCLIP")
    clip, class_embeddings = prepare_towers(config, run, data.classes)
    config = dataclasses.replace(config, arch=clip.config.arch)
    task = TASKS[config.task](config, run, clip, class_embeddings, data)
    write_summary(run, config, data, task.variables["params"])
    optimizer = make_optimizer(config)
    state = replicate(create_state(task.variables, optimizer, total_steps=0, ema=config.ema > 0, seed=config.seed))
    train_step = make_train_step(
        task.loss, optimizer, make_schedule(config), backbone=config.backbone, ema=config.ema, axis_name=AXIS
    )
    step = parallel(train_step, donate_first=True)
    with Checkpoints(run.checkpoints, config.checkpoint_every * task.per_epoch) as checkpoints:
        latest = checkpoints.latest()
        if latest is not None:
            state = checkpoints.restore(state, latest)
        if config.total_steps is None:
            total = config.epochs * task.per_epoch
            if config.max_minutes is not None:
                total = _fit(config, task, state, step, begin)
                print(f"{total} steps fit into {config.max_minutes:g} minutes")
            total = min(total, config.max_steps or total)
            align_steps = config.align_steps if latest is not None else int(task.align_share * total)
            config = dataclasses.replace(config, total_steps=total, align_steps=align_steps)
        config.save(run.config)
        planned = {"total_steps": config.total_steps, "align_steps": config.align_steps}
        state = state._replace(**replicate({name: jnp.asarray(n, jnp.int32) for name, n in planned.items()}))
        drop_rows_after(run.metrics, int(state.step))
        finished = int(state.step) >= int(state.total_steps)
        if finished:
            print(f"this run is finished ({int(state.step)} steps); give more --epochs to go on")
        else:
            print(f"training from step {int(state.step)} to {int(state.total_steps)}, {task.per_epoch} an epoch")
            _run(config, run, task, step, state, checkpoints)
    if task.finish is not None and not (finished and run.evaluated()):
        saved = Checkpoints(run.checkpoints)
        best = saved.best()
        assert best is not None
        task.finish(saved.restore_weights(best))
    write_report(run)
    print(f"report: {run.report}")
    return run.root


def _open_run(settings: dict[str, Any], workdir: Path | None) -> tuple[RunDirectory, TrainConfig]:
    """A new run directory with its configuration, or those of the run that `workdir` holds already."""
    for name in ("data_dir", "classes", "weights", "text_embeddings"):  # a run goes on from wherever it is started
        if settings.get(name):
            settings = {**settings, name: os.path.abspath(settings[name])}
    run = RunDirectory(workdir) if workdir else RunDirectory.new(settings.get("task", "align"))
    if run.config.exists() and run.has_begun():
        return run, resumed_config(load_config(run.config), settings, run.root)
    config = new_config(settings, accelerator=jax.default_backend() != "cpu")
    if run.config.exists():  # it never came to its first step, perhaps for a wrong flag: nothing to keep
        run.clear()
    elif run.root.exists() and (not run.root.is_dir() or any(run.root.iterdir())):
        raise UserError(f"{run.root} exists and holds no run (no config.json): choose another --workdir")
    run.root.mkdir(parents=True, exist_ok=True)
    config.save(run.config)
    return run, config


def _fit(config: TrainConfig, task: Task, state: TrainState, step: Step, begin: float) -> int:
    """The number of steps that fit into `max_minutes` since `begin`; compiles what training needs."""
    assert config.max_minutes is not None
    trial, step_seconds, evaluation = replicate(state), 0.0, 0.0  # a copy: a step consumes its argument
    for share, align_steps in ((1 - task.align_share, 0), (task.align_share, UNTIMED_STEPS + TIMED_STEPS)):
        with contextlib.closing(task.batches(0, align_steps)) as batches:

            def one_step(batches: Any = batches) -> None:
                nonlocal trial
                trial, metrics = step(trial, split_batch(next(batches)))
                jax.block_until_ready(metrics)

            if share:
                step_seconds += share * timing.measure(one_step, TIMED_STEPS, UNTIMED_STEPS)
    if task.evaluate is not None:
        variables = evaluated(trial)
        evaluation = timing.measure(lambda: task.evaluate and task.evaluate(variables))
    del trial
    if config.validations is None:  # the one of the last epoch, cut short, is paid for besides
        step_seconds += evaluation / task.per_epoch
    times = (1 if config.validations is None else config.validations) + task.finish_share
    return timing.fit_steps(config.max_minutes, time.monotonic() - begin, step_seconds, times * evaluation)


def _validated(config: TrainConfig, epochs: int) -> set[int]:
    """The epochs after which to validate: all, or as many as the configuration says, the last among them."""
    if config.validations is None:
        return set(range(1, epochs + 1))
    return {math.ceil(epochs * (i + 1) / config.validations) for i in range(config.validations)}


def _run(
    config: TrainConfig, run: RunDirectory, task: Task, step: Step, state: TrainState, checkpoints: Checkpoints
) -> None:
    done, total, per_epoch = int(state.step), int(state.total_steps), task.per_epoch
    epochs = math.ceil(total / per_epoch)
    validated = _validated(config, epochs) if task.evaluate else set()
    rows = read_rows(run.metrics)
    best = min(map(ranking, rows), default=math.inf)
    spent, begin = (rows[-1]["seconds"] if rows else 0.0), time.monotonic()
    with (
        contextlib.closing(task.batches(done, config.align_steps)) as batches,
        tqdm(total=total, initial=done, unit="step", dynamic_ncols=True, disable=None) as bar,
    ):
        while done < total:
            epoch = done // per_epoch + 1
            meter = Meter()
            try:
                while done < min(epoch * per_epoch, total):
                    state, metrics = step(state, split_batch(next(batches)))
                    done += 1
                    if shown := meter.add(done, metrics):
                        bar.set_postfix(loss=f"{shown['loss']:.3f}", lr=f"{shown['learning_rate']:.1e}", refresh=False)
                    bar.update()
                row = {"step": done, "epoch": epoch, **meter.means()}
                if task.evaluate and epoch in validated:
                    row |= {f"val_{name}": value for name, value in task.evaluate(evaluated(state)).items()}
                check_finite(row, done)
            except NotFinite as e:
                raise UserError(f"{e}; {checkpoints.describe_last()}; a lower --learning_rate may help") from None
            row["seconds"] = spent + time.monotonic() - begin
            append_row(run.metrics, row)  # before saving: a kill between the two repeats the epoch, row and all
            bar.write(_describe(row, epochs))
            better = epoch in validated or not validated
            if epoch % config.checkpoint_every == 0 or done == total or (better and ranking(row) < best):
                checkpoints.save(state, row)
            best = min(best, ranking(row))


SHOWN = ("loss", "val_loss", "val_top1", "val_top5", "val_map", "val_map_50")


def _describe(row: dict[str, Any], epochs: int) -> str:
    parts = [f"epoch {row['epoch']}/{epochs}", f"step {row['step']}"]
    parts += [f"{name} {row[name]:.4f}" for name in SHOWN if name in row]
    return "  ".join([*parts, f"{row['iterations_per_sec']:.2f} it/s"])
