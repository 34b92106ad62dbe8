"""Compiled programs are kept on disk, so that the second start of a command does not compile them again."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import jax
from tqdm import tqdm

MAX_BYTES = 2 * 2**30  # beyond it, JAX removes the least recently used programs


def enable_compilation_cache() -> None:
    """Keep compiled programs in `$XDG_CACHE_HOME/remoteclip_jax` (by default `~/.cache/remoteclip_jax`).

    Nothing happens where that folder cannot be written to. The user's own settings for JAX have priority: another
    folder (`JAX_COMPILATION_CACHE_DIR`), or no cache at all (`JAX_ENABLE_COMPILATION_CACHE=false`).
    """
    if jax.config.jax_compilation_cache_dir is not None:  # type: ignore[attr-defined]
        return
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "remoteclip_jax"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)


@contextlib.contextmanager
def announced_compilation(what: str) -> Iterator[None]:
    """Say that `what` is being compiled in this block, and how long it took: on a GPU that may be a minute."""
    tqdm.write(f"compiling {what}")  # which keeps out of the way of a progress bar
    begin = time.monotonic()
    yield
    tqdm.write(f"compiled {what} in {time.monotonic() - begin:.1f} s")
