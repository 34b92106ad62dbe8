"""The compiled training step: it says what the user is waiting for, and how much memory it needs before it fails."""

from typing import Any

import jax

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runtime.compilation import announced_compilation
from remoteclip_jax.runtime.devices import free_device_memory
from remoteclip_jax.training.state import TrainState
from remoteclip_jax.training.workload import Batch, Parts

USABLE_SHARE = 0.95  # of a device's free memory; the rest is for libraries, and for batches that are on their way
GIB = 2**30


class Program:
    """The parallel function `step(state, batch)`, compiled for each kind of batch when the first one comes.

    UserError, with a batch size that fits, if the device's memory is too small for it.
    """

    def __init__(self, step: Any, config: TrainConfig) -> None:
        self._step, self._config = step, config
        self._compiled: dict[tuple[Any, ...], Any] = {}

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Parts]:
        kind = tuple((name, x.shape, x.dtype) for name, x in batch.items())
        if kind not in self._compiled:
            self._compiled[kind] = self._compile(state, batch)
        new_state, metrics = self._compiled[kind](state, batch)
        return new_state, metrics

    def _compile(self, state: TrainState, batch: Batch) -> Any:
        try:
            with announced_compilation("the training step"):
                compiled = self._step.lower(state, batch).compile()
        except jax.errors.JaxRuntimeError as e:
            if "RESOURCE_EXHAUSTED" not in str(e):
                raise
            remedy = self._remedy(self._config.batch_size // 2)
            raise UserError(f"the training step does not fit into the device's memory: {remedy}") from e
        self._check_memory(compiled.memory_analysis())
        return compiled

    def _check_memory(self, memory: Any) -> None:
        free = USABLE_SHARE * free_device_memory()
        if memory is None or not free:  # on a CPU, and wherever the device does not say
            return
        needed = memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
        if needed <= free:
            return
        raise UserError(
            f"a training step with --batch_size={self._config.batch_size} takes {needed / GIB:.1f} GiB, and "
            f"{free / GIB:.1f} are free: {self._remedy(int(free / needed * self._config.batch_size))}"
        )

    def _remedy(self, batch_size: int) -> str:
        devices = jax.local_device_count()
        batch_size = batch_size // devices * devices
        remedies = [f"--batch_size={batch_size} should fit"] if batch_size else []
        if not self._config.remat:
            remedies.append("--set=remat=true computes activations again in place of keeping them")
        return "; ".join(remedies) or "choose a smaller --image_size"
