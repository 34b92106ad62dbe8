"""The epochs of a training. At the end of each one: evaluate, log and save, in this order.

All of this happens before the next batch is taken, and a batch depends only on the seed and the step. So a resumed run
ends like an uninterrupted one: with the same bits on a CPU, and on a GPU if its operations are deterministic
(docs/data.md).
"""

import contextlib
import math
import time
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.checkpoints import Checkpoints
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.metrics_log import Ranking, append_row, read_rows
from remoteclip_jax.runtime.devices import replicate
from remoteclip_jax.training.interrupt import Interrupted, deferred_signals
from remoteclip_jax.training.meter import Meter, NonFiniteError, check_finite
from remoteclip_jax.training.plan import Plan
from remoteclip_jax.training.state import TrainState, evaluation_variables, unpacked
from remoteclip_jax.training.stream import BatchStream
from remoteclip_jax.training.workload import Step, Workload

MAX_UNSAVED_SECONDS = 90.0  # a killed run loses at most about this much


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
    """Train from `state` to the end of `plan`.

    Raises Interrupted after SIGINT or SIGTERM, with the state saved. UserError if a metric is not finite.
    """
    done = int(jax.device_get(state.step))
    rows = read_rows(run.metrics)
    best = min(map(ranking, rows), default=math.inf)
    partial = checkpoints.metrics(done).get("partial") if done else None  # of an epoch that was saved before its end
    meter = Meter(partial)
    earlier_seconds = partial["seconds"] if partial else rows[-1]["seconds"] if rows else 0.0
    begin = last_save = time.monotonic()
    with (
        deferred_signals() as signal,
        contextlib.closing(BatchStream(workload, done, plan.first_steps)) as stream,
        tqdm(total=plan.total, initial=done, unit="step", dynamic_ncols=True, disable=None) as bar,
    ):
        while done < plan.total:
            epoch = done // workload.steps_per_epoch + 1
            try:
                while done < _epoch_end(epoch, workload, plan):
                    state, metrics = step(state, next(stream))
                    stream.read_ahead()  # before the device is waited for
                    done += 1
                    fetched = meter.add(done, metrics)
                    if fetched is not None:
                        loss, rate = fetched["loss"], fetched["learning_rate"]
                        bar.set_postfix(loss=f"{loss:.3f}", lr=f"{rate:.1e}", refresh=False)
                    bar.update()
                    if plan.after_step(done, ended=fetched is not None):
                        state = state._replace(**step_counts(plan))
                        stream.set_first_steps(done, plan.first_steps)
                        bar.total = plan.total
                    within_epoch = done < _epoch_end(epoch, workload, plan)
                    if within_epoch and (signal() or time.monotonic() - last_save > MAX_UNSAVED_SECONDS):
                        seconds = earlier_seconds + time.monotonic() - begin
                        checkpoints.save(
                            unpacked(state), {"step": done, "partial": {**meter.to_json(), "seconds": seconds}}
                        )
                        last_save = time.monotonic()
                        _raise_if_interrupted(signal(), done, run, checkpoints)
                epochs = math.ceil(plan.total / workload.steps_per_epoch)
                row = {"step": done, "epoch": epoch, **meter.means()}
                validated = _validated_epochs(config, epochs) if workload.evaluate else set()
                if epoch in validated:
                    row |= {f"val_{name}": value for name, value in _validate(workload, state, plan).items()}
                check_finite(row, done)
            except NonFiniteError as e:
                raise UserError(f"{e}; {checkpoints.describe_latest()}; a lower --learning_rate may help") from None
            row["seconds"] = earlier_seconds + time.monotonic() - begin
            append_row(run.metrics, row)  # before saving: a kill in between repeats the whole epoch and its row
            bar.write(_progress_line(row, epochs))
            better = (epoch in validated or not validated) and ranking(row) < best
            received = signal()  # asked only once: a later signal does not find this step saved
            overdue = received or time.monotonic() - last_save > MAX_UNSAVED_SECONDS
            if epoch % config.checkpoint_every == 0 or done == plan.total or better or overdue:
                checkpoints.save(unpacked(state), row)
                last_save = time.monotonic()
            _raise_if_interrupted(received, done, run, checkpoints)
            best, meter = min(best, ranking(row)), Meter()


def step_counts(plan: Plan) -> dict[str, Any]:
    """The fields of a `TrainState` that follow from `plan`: `total_steps` and `first_steps`, on all devices."""
    counts = {"total_steps": plan.total, "first_steps": plan.first_steps}
    return dict(replicate({name: np.asarray(count, np.int32) for name, count in counts.items()}))


def _epoch_end(epoch: int, workload: Workload, plan: Plan) -> int:
    """The step after which `epoch` ends."""
    return min(epoch * workload.steps_per_epoch, plan.total)


def _raise_if_interrupted(signal: int | None, done: int, run: RunDirectory, checkpoints: Checkpoints) -> None:
    if signal is None:
        return
    checkpoints.wait()
    raise Interrupted(signal, f"interrupted at step {done}, which is saved: --workdir={run.root} goes on from there")


def _validate(workload: Workload, state: TrainState, plan: Plan) -> dict[str, float]:
    """The validation metrics; tells `plan` how long they took."""
    assert workload.evaluate is not None
    begin = time.monotonic()
    metrics = workload.evaluate(evaluation_variables(state))
    plan.record_evaluation(time.monotonic() - begin)
    return metrics


def _validated_epochs(config: TrainConfig, epochs: int) -> set[int]:
    """The epochs that end with a validation: all, or as many as the configuration says, including the last."""
    if config.validations is None:
        return set(range(1, epochs + 1))
    return {math.ceil(epochs * (i + 1) / config.validations) for i in range(config.validations)}


def _progress_line(row: dict[str, Any], epochs: int) -> str:
    parts = [f"epoch {row['epoch']}/{epochs}", f"step {row['step']}"]
    parts += [f"{name} {row[name]:.4f}" for name in row if name == "loss" or name.startswith("val_")]
    return "  ".join([*parts, f"{row['iterations_per_sec']:.2f} it/s"])
