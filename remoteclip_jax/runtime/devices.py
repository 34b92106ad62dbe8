"""Several devices: the only place where pmap wraps the pure functions of training and evaluation.

What a device computes never depends on the number of devices: sums are divided by counts of the global batch, and a
sample's randomness follows from its position in that batch. So one, two and four devices train alike.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Key, Num

from remoteclip_jax.errors import UserError

AXIS = "batch"  # pmap's axis: every device holds an equal share of the global batch


def parallel(function: Callable[..., Any], donate_first: bool = False) -> Callable[..., Any]:
    """`function(state, batch)` under pmap over the local devices: the state is shared, the batch is split.

    The outputs must be equal on all devices (averaged or summed over `AXIS`); one device's copy is returned. A donated
    state must come from `replicate`, so that nothing else holds its buffers.
    """
    donated = (0,) if donate_first else ()
    return jax.pmap(function, axis_name=AXIS, in_axes=(None, 0), out_axes=None, donate_argnums=donated)


def map_shares(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(state, batch)` under pmap over the local devices. Outputs [b / devices, …] stay on their devices, as
    [devices, b / devices, …]: another batch."""
    return jax.pmap(function, axis_name=AXIS, in_axes=(None, 0))


def gather(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(state, batch)` under pmap over the local devices. Outputs [b / devices, …] become NumPy [b, …]."""
    mapped = map_shares(function)

    def run(*arguments: Any) -> Any:
        # While inputs are being copied, a CPU runs a program in a thread whose memory is not kept for the next one.
        result = jax.device_get(mapped(*jax.block_until_ready(arguments)))
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), result)

    return run


def mean_over_devices(values: Any, axis_name: str | None) -> Any:
    """The mean of a tree of arrays over pmap's axis; outside of pmap, or with one device, the tree itself.

    Even with one device XLA's collectives would copy the arrays, and no operation is fused across them.
    """
    if axis_name is None or jax.lax.axis_size(axis_name) == 1:
        return values
    return jax.lax.pmean(values, axis_name)


def mean_count(count: Num[Array, "..."], axis_name: str | None) -> Float[Array, "..."]:
    """The global batch's `count` (or several), at least one, divided by the number of devices.

    If every device divides its sum by this, the mean over devices is the global sum over the global count.
    """
    count = count.astype(jnp.float32)
    devices = jax.lax.axis_size(axis_name) if axis_name else 1
    return jnp.maximum(mean_over_devices(count, axis_name), 1 / devices)


def sample_keys(key: Key[Array, ""], count: int, axis_name: str | None) -> Key[Array, " n"]:
    """A random key for each of this device's `count` samples, derived from its position in the global batch."""
    first = jax.lax.axis_index(axis_name) * count if axis_name else 0
    return jax.vmap(partial(jax.random.fold_in, key))(first + jnp.arange(count))


def replicated_sharding() -> NamedSharding:
    """The sharding of arrays that every local device holds completely."""
    return NamedSharding(Mesh(np.array(jax.local_devices()), (AXIS,)), PartitionSpec())


def replicate(tree: Any) -> Any:
    """A copy of `tree` on every local device, in buffers of its own."""
    # device_put alone would share the source's buffer on the first device, and a donation would delete both.
    return jax.tree.map(lambda x: jax.device_put(np.array(x), replicated_sharding()), jax.device_get(tree))


def split_batch(batch: dict[str, Any]) -> dict[str, Array]:
    """Arrays [b, …] as [devices, b / devices, …], each part on its device, for `parallel` and `gather`."""
    devices = jax.local_devices()
    sharding = NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec(AXIS))

    def put(x: Any) -> Array:
        return jax.device_put(x.reshape(len(devices), len(x) // len(devices), *x.shape[1:]), sharding)

    return {name: put(x) for name, x in batch.items()}


def free_device_memory() -> int:
    """The free bytes of the local device that has the least. None are counted where the device does not say, nor on a
    CPU, whose memory is the host's."""
    stats = [device.memory_stats() or {} for device in jax.local_devices() if device.platform != "cpu"]
    return min((max(0, one.get("bytes_limit", 0) - one.get("bytes_in_use", 0)) for one in stats), default=0)


def check_processes() -> None:
    """UserError if this is one of several processes: each would read the same batches and write the same files."""
    if jax.process_count() > 1:
        raise UserError(
            f"this is one of {jax.process_count()} processes (jax.distributed), which are not supported yet: start one "
            f"process, which trains on all {jax.local_device_count()} devices of its machine"
        )


def check_batch_size(batch_size: int) -> None:
    """UserError if a global batch cannot be divided evenly among the devices."""
    if batch_size % jax.local_device_count():
        raise UserError(f"--batch_size={batch_size} must be a multiple of the {jax.local_device_count()} devices")
