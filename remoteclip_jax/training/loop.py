"""The training loop: step, and at each epoch's end evaluate, log, save, in this order, before the next batch is taken.

That order, and batches that depend on the seed and the step alone, make a resumed run end exactly as an unbroken one.
"""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from remoteclip_jax.clip.model import CLIP
from remoteclip_jax.config import TrainConfig, load_config, new_config, resumed_config
from remoteclip_jax.data.pipeline import steps_per_epoch, training_batches
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError
from remoteclip_jax.evaluation.classification import make_evaluator
from remoteclip_jax.metrics_log import append_row, drop_rows_after, ranking, read_rows
from remoteclip_jax.parallel import AXIS, check_batch_size, parallel, replicate, split_batch
from remoteclip_jax.report import write_report
from remoteclip_jax.run_directory import RunDirectory
from remoteclip_jax.training import timing
from remoteclip_jax.training.checkpoint import Checkpoints
from remoteclip_jax.training.meter import Meter, NotFinite, check_finite
from remoteclip_jax.training.optimizer import make_optimizer, make_schedule
from remoteclip_jax.training.setup import prepare_data, prepare_towers, write_summary
from remoteclip_jax.training.state import TrainState, create_state
from remoteclip_jax.training.step import make_train_step

Step = Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]
Evaluate = Callable[[TrainState], dict[str, float]]  # empty where there is nothing to validate on


def train(settings: dict[str, Any], workdir: Path | None = None) -> Path:
    """Run or resume the `align` task and write its report; returns the run directory.

    `settings` are the fields of `TrainConfig` that the user named. UserError for whatever a user can put right.
    """
    begin = time.monotonic()
    run, config = _open_run(settings, workdir)
    print(f"run directory: {run.root}")
    data = prepare_data(config, run)
    print("\n".join(data.notes) or f"{len(data.train)} training images")
    per_epoch = steps_per_epoch(data.train, config.batch_size)  # what cannot work fails before anything slow
    check_batch_size(config.batch_size)
    if not config.weights:
        print("the image tower starts at random: --weights=DIR (from python -m convert) starts from RemoteCLIP")
    clip, class_embeddings = prepare_towers(config, run, data.train.classes)
    config = dataclasses.replace(config, arch=clip.config.arch)
    write_summary(run, config, data, clip)
    optimizer = make_optimizer(config)
    state = replicate(create_state(clip.variables, optimizer, total_steps=0))
    model = CLIP(clip.config, dtype=jnp.dtype(config.dtype), axis_name=AXIS)
    del clip  # the state holds its own copy
    train_step = make_train_step(model, optimizer, make_schedule(config), class_embeddings, config.temperature)
    step = parallel(train_step, donate_first=True)
    evaluate = _evaluator(config, model, class_embeddings, data.val)
    with Checkpoints(run.checkpoints, config.checkpoint_every * per_epoch) as checkpoints:
        latest = checkpoints.latest()
        if latest is not None:
            state = checkpoints.restore(state, latest)
        if config.total_steps is None:
            total = config.epochs * per_epoch
            if config.max_minutes is not None:
                costs = _measure(config, data.train, state, step, evaluate)
                total = timing.fit_steps(config.max_minutes, time.monotonic() - begin, *costs, per_epoch)
                print(f"{total} steps fit into {config.max_minutes:g} minutes")
            config = dataclasses.replace(config, total_steps=min(total, config.max_steps or total))
        config.save(run.config)
        state = state._replace(total_steps=replicate(jnp.asarray(config.total_steps, jnp.int32)))
        drop_rows_after(run.metrics, int(state.step))
        if int(state.step) >= int(state.total_steps):
            print(f"this run is finished ({int(state.step)} steps); give more --epochs to go on")
        else:
            print(f"training from step {int(state.step)} to {int(state.total_steps)}, {per_epoch} an epoch")
            _run(config, run, data.train, step, evaluate, state, checkpoints, per_epoch)
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
    config = new_config(settings)
    if run.config.exists():  # it never came to its first step, perhaps for a wrong flag: nothing to keep
        run.clear()
    elif run.root.exists() and (not run.root.is_dir() or any(run.root.iterdir())):
        raise UserError(f"{run.root} exists and holds no run (no config.json): choose another --workdir")
    run.root.mkdir(parents=True, exist_ok=True)
    config.save(run.config)
    return run, config


def _evaluator(config: TrainConfig, model: CLIP, class_embeddings: jax.Array, val: Dataset | None) -> Evaluate:
    if val is None:
        return lambda state: {}
    evaluate = make_evaluator(
        model, class_embeddings, config.temperature, val, batch_size=config.batch_size,
        image_size=config.image_size, label=config.label,
    )  # fmt: skip
    return lambda state: evaluate({"params": state.params, "batch_stats": state.batch_stats})


def _measure(
    config: TrainConfig, train: Dataset, state: TrainState, step: Step, evaluate: Evaluate
) -> tuple[float, float]:
    """Seconds of a step, and of what an epoch costs beyond its steps; compiles both functions."""
    batch = split_batch(next(_batches(config, train, 0)))
    trial = replicate(state)  # a copy: a step consumes its argument

    def one_step() -> None:
        nonlocal trial
        trial, metrics = step(trial, batch)
        jax.block_until_ready(metrics)

    step_seconds = timing.measure(one_step, repeats=3)
    return step_seconds, timing.measure(lambda: evaluate(trial))


def _batches(config: TrainConfig, dataset: Dataset, start_step: int) -> Iterator[dict[str, np.ndarray]]:
    return training_batches(
        dataset, batch_size=config.batch_size, image_size=config.image_size, seed=config.seed,
        start_step=start_step, rule=config.label, augmentation=config.augment,
    )  # fmt: skip


def _run(
    config: TrainConfig, run: RunDirectory, dataset: Dataset, step: Step, evaluate: Evaluate, state: TrainState,
    checkpoints: Checkpoints, per_epoch: int,
) -> None:  # fmt: skip
    done, total = int(state.step), int(state.total_steps)
    epochs = math.ceil(total / per_epoch)
    rows = read_rows(run.metrics)
    best = min(map(ranking, rows), default=math.inf)
    spent, begin = (rows[-1]["seconds"] if rows else 0.0), time.monotonic()
    batches = _batches(config, dataset, done)
    with tqdm(total=total, initial=done, unit="step", dynamic_ncols=True, disable=None) as bar:
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
                row |= {f"val_{name}": value for name, value in evaluate(state).items()}
                check_finite(row, done)
            except NotFinite as e:
                raise UserError(f"{e}; {checkpoints.describe_last()}; a lower --learning_rate may help") from None
            row["seconds"] = spent + time.monotonic() - begin
            append_row(run.metrics, row)  # before saving: a kill between the two repeats the epoch, row and all
            bar.write(_describe(row, epochs))
            if epoch % config.checkpoint_every == 0 or done == total or ranking(row) < best:
                checkpoints.save(state, row)
            best = min(best, ranking(row))


def _describe(row: dict[str, Any], epochs: int) -> str:
    parts = [f"epoch {row['epoch']}/{epochs}", f"step {row['step']}"]
    parts += [f"{name} {row[name]:.4f}" for name in ("loss", "val_loss", "val_top1", "val_top5") if name in row]
    return "  ".join([*parts, f"{row['iterations_per_sec']:.2f} it/s"])
