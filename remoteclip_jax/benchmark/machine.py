"""The machine that is measured: its devices, packages, peak rates and memory."""

import importlib.metadata
import platform
from pathlib import Path

import jax
import jax.numpy as jnp

from remoteclip_jax.benchmark.clock import Action, block_length, seconds_per_step

CPU_MATRIX_SIZE, ACCELERATOR_MATRIX_SIZE = 2048, 8192  # for the peak rate of a matrix product
TRIALS = 5  # the fastest counts


def device_name() -> str:
    """The number and the name of the devices."""
    first = jax.local_devices()[0]
    kind = _processor_name() if first.platform == "cpu" else first.device_kind
    return f"{jax.local_device_count()} × {kind}"


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if lines:
            return f"{lines[0].split(':', 1)[1].strip()}, {len(lines)} cores"
    return platform.processor() or platform.machine()


def package_versions(*more: str) -> dict[str, str]:
    """The versions of Python, of JAX and its libraries, of the packages `more`, and of what drives an accelerator."""
    names = ("jax", "jaxlib", "flax", "optax", *more)
    versions = {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}
    if jax.default_backend() != "cpu":
        versions["platform"] = " ".join(jax.local_devices()[0].client.platform_version.split())
    return versions


def matmul_flops_per_second(dtype: str) -> float:
    """The FLOP/s of one device in a product of large square matrices, at the default precision. The figure
    `peak_fraction` is relative to this."""
    size = CPU_MATRIX_SIZE if jax.default_backend() == "cpu" else ACCELERATOR_MATRIX_SIZE
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.dtype(dtype))
    product = jax.jit(lambda a: a @ a)
    action = Action(lambda: product(a))
    length = block_length(action)
    return 2 * size**3 / min(seconds_per_step(action, length) for _ in range(TRIALS))


def memory_bandwidth() -> float:
    """The bytes/s that one device reads and writes when it adds one to a large array in place."""
    x = jnp.zeros(2**26)
    add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def start() -> jax.Array:
        nonlocal x
        x = add(x)
        return x

    # The next addition consumes the array, and waiting for a consumed array is an error. So always wait for the last.
    action = Action(start, lambda _: jax.block_until_ready(x))
    length = block_length(action)
    return 2 * x.nbytes / min(seconds_per_step(action, length) for _ in range(TRIALS))


def peak_memory() -> int | None:
    """The most bytes that this process has used on one device so far; None if the device does not say (a CPU)."""
    stats = jax.local_devices()[0].memory_stats()
    return int(stats["peak_bytes_in_use"]) if stats and "peak_bytes_in_use" in stats else None
