"""Several devices: the one place where pmap wraps the pure functions of training and evaluation."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from remoteclip_jax.errors import UserError

AXIS = "batch"  # pmap's axis: every device holds an equal share of the global batch


def parallel(function: Callable[..., Any], donate_first: bool = False) -> Callable[..., Any]:
    """pmap `function(state, batch)` over the local devices: the state is shared, the batch split, outputs equal.

    The outputs must be equal on all devices (averaged or summed over `AXIS`): one device's copy is returned. A state
    that is donated must come from `replicate`, so that no one else holds its buffers.
    """
    donated = (0,) if donate_first else ()
    return jax.pmap(function, axis_name=AXIS, in_axes=(None, 0), out_axes=None, donate_argnums=donated)


def gather(function: Callable[..., Any]) -> Callable[..., Any]:
    """pmap `function(state, batch)` over the local devices; its outputs [b / devices, …] become numpy [b, …]."""
    mapped = jax.pmap(function, axis_name=AXIS, in_axes=(None, 0))

    def run(*arguments: Any) -> Any:
        return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), mapped(*arguments))

    return run


def mean_over_devices(values: Any, axis_name: str | None) -> Any:
    """The mean of a tree of arrays over pmap's axis; the tree itself outside of pmap, or where there is one device:
    XLA's collectives would copy it all the same, and no operation is fused across them."""
    if axis_name is None or jax.lax.axis_size(axis_name) == 1:
        return values
    return jax.lax.pmean(values, axis_name)


def replicate(tree: Any) -> Any:
    """A copy of `tree` on every local device, in buffers of its own."""
    sharding = NamedSharding(Mesh(np.array(jax.local_devices()), (AXIS,)), PartitionSpec())
    # device_put alone would alias the source's buffer on the first device, and a donation would delete both.
    return jax.tree.map(lambda x: jax.device_put(np.array(x), sharding), tree)


def split_batch(batch: dict[str, Any]) -> dict[str, Any]:
    """Arrays [b, …] to [devices, b / devices, …], for `parallel`."""
    devices = jax.local_device_count()
    return {name: x.reshape(devices, len(x) // devices, *x.shape[1:]) for name, x in batch.items()}


def check_batch_size(batch_size: int) -> None:
    """UserError where a global batch does not divide among the devices."""
    if batch_size % jax.local_device_count():
        raise UserError(f"--batch_size={batch_size} must be a multiple of the {jax.local_device_count()} devices")
