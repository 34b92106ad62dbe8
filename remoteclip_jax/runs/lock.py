"""One training at a time in a run directory."""

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Iterator

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.directory import RunDirectory

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL}
_held: set[int] = set()


def _forget_in_child() -> None:
    """A forked child would keep the lock of a parent that was killed."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)


@contextlib.contextmanager
def exclusive_lock(run: RunDirectory) -> Iterator[None]:
    """Hold the directory of `run`, which is made where it is missing. UserError where another process holds it.

    The lock is the kernel's (`flock`) and goes with the process, however that ends. Where the file system has no locks,
    a line says so and nothing is held.
    """
    run.root.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(run)
    _held.add(descriptor)
    try:
        yield
    finally:
        run.lock.unlink(missing_ok=True)  # before it is let go: who comes then finds no file, or one of its own
        _held.discard(descriptor)
        os.close(descriptor)


def _locked(run: RunDirectory) -> int:
    """A descriptor of the lock file that holds the lock, if there can be one."""
    while True:
        descriptor = os.open(run.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_current(descriptor, run):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise UserError(
                f"{run.root}: another process is training here; wait until it ends, or choose another --workdir"
            ) from None
        except OSError as e:
            if e.errno not in _UNSUPPORTED:
                os.close(descriptor)
                raise
            print(
                f"note: {run.root} is on a file system without locks ({e.strerror}): take care that no second "
                "training is started there",
                file=sys.stderr,
            )
            return descriptor
        os.close(descriptor)


def _is_current(descriptor: int, run: RunDirectory) -> bool:
    """Whether the locked file still is the one of that name, and not one that its last holder has just removed."""
    try:
        return os.path.samestat(os.fstat(descriptor), run.lock.stat())
    except FileNotFoundError:
        return False
