"""Freed memory is kept for the next step."""

import os
import platform
import subprocess
import sys

import pytest

from remoteclip_jax.runtime.memory import free_memory

PROGRAM = """
import resource, statistics, sys
from remoteclip_jax.runtime.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
import jax, jax.numpy as jnp
x = jnp.ones((4096, 1024))
step = jax.jit(lambda x: jnp.max(jnp.sin(x @ x.T)))  # a product of 64 MiB, of which it returns one number
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
counts = []
for _ in range(30):
    before = faults()
    step(x).block_until_ready()
    counts.append(faults() - before)
print(round(statistics.median(counts)))  # the first ones may still find the place taken, and ask for another
"""


def page_faults(mode: str) -> int:
    """Of a step, in the median."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is told to")
def test_a_step_does_not_ask_the_system_for_its_memory_anew() -> None:
    assert page_faults("keep") < page_faults("default") / 10


def test_free_memory_is_some_and_no_more_than_there_is() -> None:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < free_memory() <= pages
