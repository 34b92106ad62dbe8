"""The time of compilation, with an empty persistent cache and with the program in it."""

import tempfile
import time
from typing import Any, NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache


class Compilation(NamedTuple):
    """A compiled function. `seconds` and `seconds_cached` include tracing and lowering, which every start has to do."""

    lowered: jax.stages.Lowered
    compiled: jax.stages.Compiled
    seconds: float
    seconds_cached: float


def compile_twice(function: Any, *arguments: Any) -> Compilation:
    """Compile a jitted or pmapped function with an empty cache, and once more as a new process would."""
    before = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        try:
            _use_cache(folder, 0.0)
            _, _, seconds = _timed_compile(function, arguments)
            lowered, compiled, seconds_cached = _timed_compile(function, arguments)
        finally:
            _use_cache(*before)
    return Compilation(lowered, compiled, seconds, seconds_cached)


def _timed_compile(function: Any, arguments: Any) -> tuple[jax.stages.Lowered, jax.stages.Compiled, float]:
    jax.clear_caches()  # those in memory
    begin = time.perf_counter()
    lowered = function.lower(*arguments)
    compiled = lowered.compile()
    return lowered, compiled, time.perf_counter() - begin


def _use_cache(folder: str | None, min_seconds: float) -> None:
    compilation_cache.reset_cache()  # the cache reads the configuration only once
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", min_seconds)
