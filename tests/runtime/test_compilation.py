"""Compiled programs outlive the process, where they can be kept."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import jax, jax.numpy as jnp
from remoteclip_jax.runtime.compilation import enable_compilation_cache
enable_compilation_cache()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name) if name.endswith("cache_hits") else None)
print(float(jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones(8))), len(hits), jax.config.jax_compilation_cache_dir)
"""


def start(**environment: str) -> tuple[list[str], str]:
    inherited = {key: value for key, value in os.environ.items() if key != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**inherited, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.split(), done.stderr


def test_the_second_start_finds_the_programs_of_the_first(tmp_path: Path) -> None:
    (value, first, folder), _ = start(XDG_CACHE_HOME=str(tmp_path))
    assert first == "0"
    assert folder == str(tmp_path / "remoteclip_jax")
    (again, second, _), _ = start(XDG_CACHE_HOME=str(tmp_path))
    assert again == value
    assert int(second) > 0


def test_a_home_that_cannot_be_written_costs_no_more_than_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (_, _, folder), errors = start(XDG_CACHE_HOME=str(tmp_path / "file"))
    assert folder == "None"
    assert "Warning" not in errors


def test_jax_told_where_is_obeyed(tmp_path: Path) -> None:
    (_, _, folder), _ = start(JAX_COMPILATION_CACHE_DIR=str(tmp_path))
    assert folder == str(tmp_path)
