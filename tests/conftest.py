"""Two CPU devices, so that every test of the training step goes through pmap with a batch that is really split; and
one compilation cache, since the tests compile the same few programs again and again, also in processes of their own."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from absl import flags

# Before the first import of JAX, which reads these once.
_cache = tempfile.TemporaryDirectory(prefix="jax-cache-")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _cache.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
import jax  # noqa: E402

# Shapes and types in signatures are checked at every call in the tests' own process, from before the package is
# imported. A whole number is a float there, as mypy has it too; and what JAX's functions take for an array is one,
# since tests hand them NumPy's.
jaxtyping.Array = jax.Array | np.ndarray | np.generic  # type: ignore[misc]
jaxtyping.install_import_hook("remoteclip_jax", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")


def pytest_configure(config: pytest.Config) -> None:
    flags.FLAGS.mark_as_parsed()


@pytest.fixture(autouse=True, scope="module")
def _forget_programs() -> Iterator[None]:
    """Compiled programs go when their module's tests are over: those of the whole suite would take more memory maps
    than a process may have, and the compiler aborts."""
    yield
    import jax

    jax.clear_caches()


@pytest.fixture(scope="session")
def drawn_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small drawn data set in the flat layout: 24 training, 10 validation and 10 test images of 96 pixels."""
    from remoteclip_jax.scenes import generate_dataset

    directory = tmp_path_factory.mktemp("drawn")
    generate_dataset(directory, train=24, val=10, test=10, seed=0, image_size=96)
    return directory


@pytest.fixture(scope="session")
def detect_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny detector after six steps on drawn data: it detects nothing worth while, but is all that a run is. Not to
    be changed: tests break copies."""
    from tests.command import run

    directory = tmp_path_factory.mktemp("detect") / "run"
    # On as many devices as the tests of this process have, which then find its programs compiled.
    flags = ("--task=detect", "--preset=tiny", "--max_steps=6", f"--workdir={directory}")
    result = run("train.py", *flags, devices=2)
    assert result.returncode == 0, result.stderr[-2000:]
    return directory
