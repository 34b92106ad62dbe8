"""What the figures were measured on."""

import importlib.metadata
import platform
from pathlib import Path

import jax
import jax.numpy as jnp

from remoteclip_jax.benchmark.clock import Action, block_length, run

CPU_SIZE, ACCELERATOR_SIZE = 2048, 8192  # of the square matrices whose product tells the peak


def device() -> str:
    first = jax.local_devices()[0]
    kind = _processor() if first.platform == "cpu" else first.device_kind
    return f"{jax.local_device_count()} × {kind}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if lines:
            return f"{lines[0].split(':', 1)[1].strip()}, {len(lines)} cores"
    return platform.processor() or platform.machine()


def versions(*more: str) -> dict[str, str]:
    names = ("jax", "jaxlib", "flax", "optax", *more)
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}


def matmul_flops_per_second(dtype: str) -> float:
    """FLOP/s of one device in a product of large square matrices, at the default precision: the peak that
    `peak_fraction` is a share of."""
    size = CPU_SIZE if jax.default_backend() == "cpu" else ACCELERATOR_SIZE
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.dtype(dtype))
    product = jax.jit(lambda a: a @ a)
    action = Action(lambda: product(a))
    length = block_length(action)
    return 2 * size**3 / min(run(action, length) for _ in range(5))


def memory_bandwidth() -> float:
    """Bytes/s that one device reads and writes when it adds one to a large array, in place."""
    x = jnp.zeros(2**26)
    add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def start() -> jax.Array:
        nonlocal x
        x = add(x)
        return x

    # Waiting for an array that the next addition has consumed is an error; each waits for the last one anyhow.
    action = Action(start, lambda _: jax.block_until_ready(x))
    length = block_length(action)
    return 2 * x.nbytes / min(run(action, length) for _ in range(5))


def peak_memory(compiled: jax.stages.Compiled) -> int:
    """Bytes of one device's memory: what the device counted at most so far, else what the compiled step needs at
    once."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return int(stats["peak_bytes_in_use"])
    need = compiled.memory_analysis()
    assert need is not None
    outputs = need.output_size_in_bytes - need.alias_size_in_bytes
    return int(need.argument_size_in_bytes + outputs + need.temp_size_in_bytes)
