"""Compiled programs are kept on the disk, so that the second start of a command need not compile again."""

import contextlib
import os
from pathlib import Path

import jax

LIMIT = 2 * 2**30  # bytes; the programs used longest ago go first


def keep_compiled_programs() -> None:
    """Keep them in `$XDG_CACHE_HOME/remoteclip_jax` (`~/.cache/remoteclip_jax`), unless nothing can be written there,
    or JAX has been told where to (`JAX_COMPILATION_CACHE_DIR`) or told not to (`JAX_ENABLE_COMPILATION_CACHE=false`).
    """
    if jax.config.jax_compilation_cache_dir is not None:  # type: ignore[attr-defined]
        return
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "remoteclip_jax"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_compilation_cache_max_size", LIMIT)
