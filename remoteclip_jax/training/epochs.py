"""A training: step, and at each epoch's end evaluate, log, save, in this order, before the next batch is taken.

That order, and batches that depend on the seed and the step alone, make a resumed run end as an unbroken one: with the
same bits on a CPU, and on a GPU where its operations are deterministic (docs/data.md).
"""

import contextlib
import math
import time
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from remoteclip_jax.data.pipeline import Batches
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.checkpoints import Checkpoints
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.metrics_log import Ranking, append_row, read_rows
from remoteclip_jax.runtime.devices import replicate, split_batch
from remoteclip_jax.training.interrupt import Interrupted, deferred_signals
from remoteclip_jax.training.meter import Meter, NotFinite, check_finite
from remoteclip_jax.training.plan import Plan
from remoteclip_jax.training.state import TrainState, evaluated
from remoteclip_jax.training.workload import Step, Workload

SAVE_SECONDS = 90.0  # what a killed run loses at most


def run_training(
    config: TrainConfig,
    run: RunDirectory,
    workload: Workload,
    ranking: Ranking,
    step: Step,
    state: TrainState,
    plan: Plan,
    checkpoints: Checkpoints,
) -> None:
    """Train from `state` to the end of `plan`. Interrupted at SIGINT or SIGTERM, with the state saved; UserError for a
    loss that is no number."""
    done = int(jax.device_get(state.step))
    rows = read_rows(run.metrics)
    best = min(map(ranking, rows), default=math.inf)
    partial = checkpoints.metrics(done).get("partial") if done else None
    meter = Meter(partial)
    spent, begin = (partial["seconds"] if partial else rows[-1]["seconds"] if rows else 0.0), time.monotonic()
    saved = begin
    with (
        deferred_signals() as signal,
        contextlib.closing(_Feed(workload, done, plan.first_steps)) as feed,
        tqdm(total=plan.total, initial=done, unit="step", dynamic_ncols=True, disable=None) as bar,
    ):
        while done < plan.total:
            epoch = done // workload.per_epoch + 1
            try:
                while done < min(epoch * workload.per_epoch, plan.total):
                    state, metrics = step(state, split_batch(next(feed)))
                    done += 1
                    if shown := meter.add(done, metrics):
                        bar.set_postfix(loss=f"{shown['loss']:.3f}", lr=f"{shown['learning_rate']:.1e}", refresh=False)
                    bar.update()
                    if plan.after_step(done):
                        state = state._replace(**planned(plan))
                        feed.replan(done, plan.first_steps)
                        bar.total = plan.total
                    ended = done >= min(epoch * workload.per_epoch, plan.total)
                    if not ended and (signal() or time.monotonic() - saved > SAVE_SECONDS):
                        spent_so_far = spent + time.monotonic() - begin
                        partial = {**meter.to_json(), "seconds": spent_so_far}
                        checkpoints.save(state, {"step": done, "partial": partial})
                        saved = time.monotonic()
                        _stop_if(signal(), done, run, checkpoints)
                row = {"step": done, "epoch": epoch, **meter.means()}
                validated = (
                    _validated(config, math.ceil(plan.total / workload.per_epoch)) if workload.evaluate else set()
                )
                if workload.evaluate and epoch in validated:
                    row |= {f"val_{name}": value for name, value in _evaluate(workload, state, plan).items()}
                check_finite(row, done)
            except NotFinite as e:
                raise UserError(f"{e}; {checkpoints.describe_last()}; a lower --learning_rate may help") from None
            row["seconds"] = spent + time.monotonic() - begin
            append_row(run.metrics, row)  # before saving: a kill between the two repeats the epoch, row and all
            bar.write(_describe(row, math.ceil(plan.total / workload.per_epoch)))
            better = (epoch in validated or not validated) and ranking(row) < best
            stopped = signal()  # asked once: what comes after this has not made the step be saved
            overdue = stopped or time.monotonic() - saved > SAVE_SECONDS
            if epoch % config.checkpoint_every == 0 or done == plan.total or better or overdue:
                checkpoints.save(state, row)
                saved = time.monotonic()
            _stop_if(stopped, done, run, checkpoints)
            best, meter = min(best, ranking(row)), Meter()


def planned(plan: Plan) -> dict[str, Any]:
    """The parts of a state that follow from `plan`."""
    steps = {"total_steps": plan.total, "first_steps": plan.first_steps}
    return dict(replicate({name: np.asarray(n, np.int32) for name, n in steps.items()}))


class _Feed:
    """The batches of a training; of other ones from here on where the plan changes what kind they are."""

    def __init__(self, workload: Workload, done: int, first_steps: int) -> None:
        self._workload, self._first_steps = workload, first_steps
        self._batches: Batches = workload.batches(done, first_steps)

    def __next__(self) -> dict[str, Any]:
        return next(self._batches)

    def replan(self, done: int, first_steps: int) -> None:
        if first_steps == self._first_steps:
            return
        self.close()
        self._first_steps, self._batches = first_steps, self._workload.batches(done, first_steps)

    def close(self) -> None:
        self._batches.close()


def _stop_if(signal: int | None, done: int, run: RunDirectory, checkpoints: Checkpoints) -> None:
    if signal is None:
        return
    checkpoints.wait()
    raise Interrupted(signal, f"interrupted at step {done}, which is saved: --workdir={run.root} goes on from there")


def _evaluate(workload: Workload, state: TrainState, plan: Plan) -> dict[str, float]:
    assert workload.evaluate is not None
    begin = time.monotonic()
    metrics = workload.evaluate(evaluated(state))
    plan.evaluated(time.monotonic() - begin)
    return metrics


def _validated(config: TrainConfig, epochs: int) -> set[int]:
    """The epochs after which to validate: all, or as many as the configuration says, the last among them."""
    if config.validations is None:
        return set(range(1, epochs + 1))
    return {math.ceil(epochs * (i + 1) / config.validations) for i in range(config.validations)}


def _describe(row: dict[str, Any], epochs: int) -> str:
    parts = [f"epoch {row['epoch']}/{epochs}", f"step {row['step']}"]
    parts += [f"{name} {row[name]:.4f}" for name in row if name == "loss" or name.startswith("val_")]
    return "  ".join([*parts, f"{row['iterations_per_sec']:.2f} it/s"])
