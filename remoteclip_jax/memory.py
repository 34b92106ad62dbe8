"""Memory that a step has freed is kept for the next one."""

import ctypes
import sys

import jax

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of glibc's malloc.h
_HEAPS = 2**27  # bytes: two of the heaps that threads other than the main one have


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
    # The one heap that holds such pieces is the main thread's: the step has to be dispatched there.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
