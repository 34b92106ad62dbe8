"""How long compiling takes: from nothing, and with the program in the persistent cache."""

import tempfile
import time
from typing import Any, NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache


class Compilation(NamedTuple):
    """`seconds` and `seconds_cached` count tracing and lowering too: a start has to do them in either case."""

    lowered: jax.stages.Lowered
    compiled: jax.stages.Compiled
    seconds: float
    seconds_cached: float


def compile_twice(function: Any, *arguments: Any) -> Compilation:
    """Compile a jitted or pmapped function into an empty cache, and once more as a new process would."""
    before = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        try:
            _use_cache(folder, 0.0)
            (_, _, cold), (lowered, compiled, cached) = _compile(function, arguments), _compile(function, arguments)
        finally:
            _use_cache(*before)
    return Compilation(lowered, compiled, cold, cached)


def _compile(function: Any, arguments: Any) -> tuple[jax.stages.Lowered, jax.stages.Compiled, float]:
    jax.clear_caches()  # in memory
    begin = time.perf_counter()
    lowered = function.lower(*arguments)
    compiled = lowered.compile()
    return lowered, compiled, time.perf_counter() - begin


def _use_cache(folder: str | None, least_seconds: float) -> None:
    compilation_cache.reset_cache()  # it looks at the configuration once
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least_seconds)
