"""How much memory is free, and how the memory that one step frees is kept for the next."""

import ctypes
import math
import mmap
import os
import sys
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # from glibc's malloc.h
_TWO_HEAPS = 2**27  # bytes: twice the size of a heap of any thread but the main one

_CGROUP = Path("/sys/fs/cgroup")
UNKNOWN = 2**40  # bytes, assumed where the system does not say


def free_memory() -> int:
    """Bytes that this process may still use: what the system has available, or what a container's limit leaves."""
    free = UNKNOWN
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:  # the file cache can be freed; sysconf does not count it as free
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        parts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        cached = int(parts["active_file"]) + int(parts["inactive_file"])
        free = min(free, int(limit) - int(used) + cached)
    except (OSError, KeyError, ValueError):  # no control group of version 2, or one without a limit ("max")
        pass
    return max(free, 0)


def keep_freed_memory() -> None:
    """Keep freed memory in this process instead of returning it to the system. Only with glibc; matters on a CPU.

    On a CPU, XLA allocates the memory of a step again at every step, a gigabyte or more in one piece. glibc takes such
    pieces from the operating system and returns them when they are freed, so every step would pay for page faults and
    zeroed pages. Call this before JAX is used.
    """
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if libc is None or not hasattr(libc, "gnu_get_libc_version"):
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, -1)
    libc.mallopt(_TOP_PAD, _TWO_HEAPS)  # keeps empty heaps too
    import jax  # imported here because the processes that read images must not load it

    # Only the main thread's heap can hold such large pieces, so the step has to be dispatched there.
    jax.config.update("jax_cpu_enable_async_dispatch", False)


def own_pages(*shape: int) -> UInt8[np.ndarray, "..."]:
    """An array of bytes, zero, in pages of its own, which go back to the system when it is no longer used. Large arrays
    among those of `keep_freed_memory` would leave holes there that nothing else fits into."""
    return np.frombuffer(mmap.mmap(-1, math.prod(shape)), np.uint8).reshape(shape)
