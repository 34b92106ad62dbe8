"""How much memory there is, and that what a step has freed is kept for the next one."""

import ctypes
import os
import sys
from pathlib import Path

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of glibc's malloc.h
_HEAPS = 2**27  # bytes: two of the heaps that threads other than the main one have


_CGROUP = Path("/sys/fs/cgroup")
PLENTY = 2**40  # where nothing tells


def free_memory() -> int:
    """Bytes that this process may still use: what the system has available, or a container's limit leaves."""
    free = PLENTY
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:  # the file cache gives way, which sysconf does not count as free
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
    """Keep what this process frees, instead of giving it back, where that can be had: on a CPU, with glibc.

    XLA on a CPU asks for the memory of a step anew at every step, a gigabyte or more in one piece. glibc takes such
    pieces from the operating system and gives them back when they are freed, so that every step pays for page faults
    and zeroed pages. To be called before JAX is used.
    """
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if libc is None or not hasattr(libc, "gnu_get_libc_version"):
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, -1)
    libc.mallopt(_TOP_PAD, _HEAPS)  # which keeps empty heaps too
    import jax  # here, because the processes that read images must not load it

    # The one heap that holds such pieces is the main thread's: the step has to be dispatched there.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
