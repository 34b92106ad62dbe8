"""Checkpoints of a run, stored with Orbax. They can be read on any number of devices."""

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
from remoteclip_jax.runtime.devices import replicated_sharding


@runtime_checkable
class NamedTupleState(Protocol):
    """A training state: a NamedTuple with the fields `step`, `params`, `batch_stats` and, optionally, `ema`."""

    @property
    def step(self) -> Any: ...

    def _asdict(self) -> dict[str, Any]: ...


State = TypeVar("State", bound=NamedTupleState)


class Checkpoints:
    """The checkpoints of one run, by step.

    The last one, the best one, and one every `keep_every` steps are kept. Without `keep_every` the checkpoints are only
    read. Saving is asynchronous and atomic, so a killed run leaves only complete checkpoints.
    """

    def __init__(self, directory: Path, ranking: Ranking, keep_every: int | None = None) -> None:
        self._ranking = checkpoint_ranking(ranking)
        keep: list[policies.PreservationPolicy] = [
            policies.LatestN(1),
            policies.BestN(get_metric_fn=self._ranking, reverse=True, n=1),
        ]
        if keep_every:
            keep.append(policies.EveryNSteps(keep_every))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy(keep),
            read_only=keep_every is None,
            create=keep_every is not None,
            cleanup_tmp_directories=keep_every is not None,
            best_fn=self._ranking,
            best_mode="min",  # without it Orbax does not store the metrics that BestN needs
        )
        self.directory = directory.absolute()
        self._manager = ocp.CheckpointManager(orbax_path(self.directory), options=options)

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, ascending."""
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        """The step of the last checkpoint; None if there is none."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step of the checkpoint with the best metrics, the earliest of equals; None if there is none."""
        return min(self.steps(), key=lambda step: self._ranking(self._manager.metrics(step)), default=None)

    def save(self, state: State, metrics: Mapping[str, Any]) -> None:
        """Start saving `state`. UserError if the disk refuses; earlier checkpoints are kept."""
        step, content = int(jax.device_get(state.step)), _stored_fields(state)
        with self._user_errors(f"save the checkpoint of step {step}"):
            # Checked first, because Orbax's threads fill the screen with tracebacks when a write fails.
            if shutil.disk_usage(self.directory).free < sum(x.nbytes for x in jax.tree.leaves(content)):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.directory))
            self._manager.save(step, args=ocp.args.StandardSave(content), metrics=dict(metrics))

    def metrics(self, step: int) -> dict[str, Any]:
        """The metrics that were saved with the state of `step`."""
        return dict(self._manager.metrics(step) or {})

    def restore(self, shapes: State, step: int) -> State:
        """The state of `step` on all local devices. `shapes` is a state of the same structure. UserError if the
        checkpoint is damaged or has another structure."""
        everywhere = replicated_sharding()

        def target(x: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere)

        with self._user_errors(f"restore the checkpoint of step {step}"):
            content = jax.tree.map(target, _stored_fields(shapes))
            try:
                return type(shapes)(**self._manager.restore(step, args=ocp.args.StandardRestore(content)))
            except ValueError as e:
                if "structures do not match" not in str(e):
                    raise
                raise UserError(
                    f"its training state is from another version of the program. It can be evaluated and used, but not "
                    f"trained further; start another --workdir with --weights={self.directory.parent}"
                ) from e

    def restore_weights(self, step: int) -> dict[str, Any]:
        """`params` and `batch_stats` of `step` on the first device; their moving average if the run keeps one."""
        # The devices on which the checkpoint was written may be absent; if they are present, Orbax fills them all.
        first_device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        with self._user_errors(f"restore the checkpoint of step {step}"):
            restored = self._manager.restore(step, args=ocp.args.StandardRestore(fallback_sharding=first_device))
        source = restored.get("ema") or restored
        return dict(jax.device_put({"params": source["params"], "batch_stats": source["batch_stats"]}, first_device))

    def describe_latest(self) -> str:
        """The last complete checkpoint in words, for error messages."""
        latest = self.latest_step()
        return f"last good checkpoint: {self.directory / str(latest)}" if latest is not None else "no checkpoint yet"

    def wait(self) -> None:
        """Wait until everything is saved. UserError if saving failed."""
        with self._user_errors("save the last checkpoint"):
            self._manager.wait_until_finished()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Wait until everything is saved, and close. UserError if saving failed."""
        with self._user_errors("save the last checkpoint"):
            self._manager.wait_until_finished()
            self._manager.close()

    @contextlib.contextmanager
    def _user_errors(self, what: str) -> Iterator[None]:
        """Turn every error into a UserError that says what failed."""
        try:
            yield
        except Exception as e:  # Orbax and TensorStore raise many types for a full disk or a damaged file
            reason = user_message(e) or f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else 'no reason given'}"
            complete = ", ".join(map(str, self.steps())) or "none"
            raise UserError(f"cannot {what} in {self.directory}: {reason} (complete checkpoints: {complete})") from e


def _stored_fields(state: State) -> dict[str, Any]:
    """The fields of `state` that a checkpoint holds."""
    return {name: value for name, value in state._asdict().items() if value is not None}
