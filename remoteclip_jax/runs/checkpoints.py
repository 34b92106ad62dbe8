"""Checkpoints of a run through Orbax, to be read on however many devices there are."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from remoteclip_jax.errors import UserError, user_message
from remoteclip_jax.files.orbax_path import orbax_path
from remoteclip_jax.runs.metrics_log import Ranking, checkpoint_ranking
from remoteclip_jax.runtime.devices import on_all_devices


@runtime_checkable
class NamedTupleState(Protocol):
    """A training state: a NamedTuple with a `step`, and `params`, `batch_stats` and perhaps `ema` among its fields."""

    @property
    def step(self) -> Any: ...

    def _asdict(self) -> dict[str, Any]: ...


State = TypeVar("State", bound=NamedTupleState)


class Checkpoints:
    """The checkpoints of one run, by step. Kept: every `keep_every`-th step, the last, and the best.

    Saving is asynchronous and atomic: a killed run leaves whole checkpoints only.
    """

    def __init__(self, directory: Path, ranking: Ranking, keep_every: int | None = None) -> None:
        self._order = order = checkpoint_ranking(ranking)
        keep: list[policies.PreservationPolicy] = [
            policies.LatestN(1),
            policies.BestN(get_metric_fn=order, reverse=True, n=1),
        ]
        if keep_every:
            keep.append(policies.EveryNSteps(keep_every))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy(keep),
            read_only=keep_every is None,
            create=keep_every is not None,
            cleanup_tmp_directories=keep_every is not None,
            best_fn=order,
            best_mode="min",  # without it Orbax does not write the metrics that BestN needs
        )
        self.directory = directory.absolute()
        self._manager = ocp.CheckpointManager(orbax_path(self.directory), options=options)

    def steps(self) -> list[int]:
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step of the checkpoint with the best metrics; the earliest among equals."""
        steps = self.steps()
        return min(steps, key=lambda step: self._order(self._manager.metrics(step)), default=None)

    def save(self, state: State, metrics: Mapping[str, Any]) -> None:
        """Start saving `state`. UserError where the disk refuses; earlier checkpoints are kept."""
        step, content = int(jax.device_get(state.step)), _content(state)
        with self._reporting(f"save the checkpoint of step {step}"):
            # Asked before, because Orbax's threads fill the screen with tracebacks when a write fails.
            if shutil.disk_usage(self.directory).free < sum(x.nbytes for x in jax.tree.leaves(content)):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.directory))
            self._manager.save(step, args=ocp.args.StandardSave(content), metrics=dict(metrics))

    def metrics(self, step: int) -> dict[str, Any]:
        """What was saved with the state of `step`."""
        return dict(self._manager.metrics(step) or {})

    def restore(self, shapes: State, step: int) -> State:
        """The state of `step`, of these shapes, on all local devices."""
        everywhere = on_all_devices()

        def target(x: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere)

        with self._reporting(f"restore the checkpoint of step {step}"):
            content = jax.tree.map(target, _content(shapes))
            try:
                return type(shapes)(**self._manager.restore(step, args=ocp.args.StandardRestore(content)))
            except ValueError as e:
                if "structures do not match" not in str(e):
                    raise
                raise UserError(
                    f"its training state is of another version of the program, which evaluates and uses it, but "
                    f"cannot go on with it; start another --workdir with --weights={self.directory.parent}"
                ) from e

    def restore_weights(self, step: int) -> dict[str, Any]:
        """`params` and `batch_stats` of `step` alone, on the first device: their moving average where there is one."""
        # The devices that a checkpoint was written on need not be here; where they are, Orbax fills them all.
        one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        with self._reporting(f"restore the checkpoint of step {step}"):
            restored = self._manager.restore(step, args=ocp.args.StandardRestore(fallback_sharding=one))
        source = restored.get("ema") or restored
        return dict(jax.device_put({"params": source["params"], "batch_stats": source["batch_stats"]}, one))

    def describe_last(self) -> str:
        """The last whole checkpoint in words, for messages about what is left."""
        latest = self.latest_step()
        return f"last good checkpoint: {self.directory / str(latest)}" if latest is not None else "no checkpoint yet"

    def wait(self) -> None:
        """Wait until everything is saved. UserError where that failed."""
        with self._reporting("save the last checkpoint"):
            self._manager.wait_until_finished()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Wait for what is being saved. UserError where it failed."""
        with self._reporting("save the last checkpoint"):
            self._manager.wait_until_finished()
            self._manager.close()

    @contextlib.contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as e:  # Orbax and TensorStore raise many kinds for a full disk or a damaged file
            reason = user_message(e) or f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else 'no reason given'}"
            kept = ", ".join(map(str, self.steps())) or "none"
            raise UserError(f"cannot {what} in {self.directory}: {reason} (whole checkpoints: {kept})") from e


def _content(state: State) -> dict[str, Any]:
    """What a checkpoint holds of `state`."""
    return {name: value for name, value in state._asdict().items() if value is not None}
