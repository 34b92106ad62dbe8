"""Two CPU devices, so that every test of the training step goes through pmap with a batch that is really split; and
one compilation cache and a few common runs, since compiling is what takes the tests' time."""

import os
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from absl import flags
from filelock import FileLock

# Before the first import of JAX, which reads these once. Processes that tests start inherit them.
_cache = tempfile.TemporaryDirectory(prefix="jax-cache-")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
# A program runs a few times in the tests, so it need not be fast: without optimisations, and with its kernels made by
# LLVM alone, it compiles in a third of the time. XLA aborts at flags that it does not know, so the version is asked.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
if version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # PyTorch's threads wait for each other where two workers share two cores
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


# What compiles most comes first, so that at the end no worker waits for the other one's long file.
LONG = ("training/", "detector/", "commands/", "tasks/", "runtime/", "convert/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    root = Path(__file__).parent
    items.sort(key=lambda item: not item.path.relative_to(root).as_posix().startswith(LONG))


# Tests of single computations, of parity with PyTorch and of many images, whose programs are compiled as for users.
OPTIMISED = ("bulk/", "clip/", "ops/")


@pytest.fixture(autouse=True, scope="module")
def _optimisations(request: pytest.FixtureRequest) -> Iterator[None]:
    before = jax.config.read("jax_disable_most_optimizations")
    if request.path.relative_to(Path(__file__).parent).as_posix().startswith(OPTIMISED):
        jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(autouse=True, scope="module")
def _forget_programs() -> Iterator[None]:
    """Drop compiled programs when the tests of their module are over: those of the whole suite would take more memory
    maps than a process may have, and the compiler aborts."""
    yield
    import jax

    jax.clear_caches()


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The directory `name`, which `make` fills the first time that a test of any worker asks for it."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # that of all workers
    directory, done = base / name, base / f"{name}.done"
    with FileLock(base / f"{name}.lock"):
        if not done.exists():
            make(directory)
            done.touch()
    return directory


@pytest.fixture(scope="session")
def synthetic_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic data set in the flat layout: 24 training, 10 validation and 10 test images of 96 pixels. Not to
    be changed."""
    from remoteclip_jax.scenes import generate_dataset

    def make(directory: Path) -> None:
        generate_dataset(directory, train=24, val=10, test=10, seed=0, image_size=96)

    return made_once(tmp_path_factory, "synthetic", make)


@pytest.fixture(scope="session")
def align_run(synthetic_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny image tower after three epochs of three steps on `synthetic_data`, with checkpoints after the second and
    the third. Not to be changed: tests change copies."""
    from remoteclip_jax.tasks.training import train

    settings = {"preset": "tiny", "data_dir": str(synthetic_data), "epochs": 3, "checkpoint_every": 2}
    return made_once(tmp_path_factory, "align", lambda directory: train(settings, directory))


@pytest.fixture(scope="session")
def detect_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny detector after six steps on synthetic data of its own: it detects hardly anything, but it has all that a
    run has. Not to be changed: tests change copies."""
    from tests.command import run

    def make(directory: Path) -> None:
        # On as many devices as the tests of this process have, which then find its programs compiled.
        flags = ("--task=detect", "--preset=tiny", "--max_steps=6", f"--workdir={directory}")
        result = run("train.py", *flags, devices=2)
        assert result.returncode == 0, result.stderr[-2000:]

    return made_once(tmp_path_factory, "detect", make)
