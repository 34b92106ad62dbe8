"""One process at a time in a directory that it writes to."""

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from remoteclip_jax.errors import UserError

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL}
_held: set[int] = set()


def _forget_in_child() -> None:
    """Without this, a forked child would keep the lock of a parent that was killed."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)


@contextlib.contextmanager
def exclusive_lock(lock: Path, activity: str, flag: str) -> Iterator[None]:
    """Hold the lock of the directory of the file `lock`; create the directory if it is missing. UserError if another
    process holds the lock: it says that another process has this `activity` there, and what `flag` would choose another
    directory.

    It is a kernel lock (`flock`), which is released however the process ends. If the file system has no locks, a note
    is printed and nothing is locked.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _locked_descriptor(lock, activity, flag)
    _held.add(descriptor)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # before the release, so that the next process creates a file of its own
        _held.discard(descriptor)
        os.close(descriptor)


def _locked_descriptor(lock: Path, activity: str, flag: str) -> int:
    """A descriptor of the lock file. It holds the lock, unless the file system has no locks."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_current(descriptor, lock):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise UserError(
                f"{lock.parent}: another process is {activity} here; wait until it ends, or choose another {flag}"
            ) from None
        except OSError as e:
            if e.errno not in _UNSUPPORTED:
                os.close(descriptor)
                raise
            print(
                f"note: {lock.parent} is on a file system without locks ({e.strerror}): make sure that no second "
                f"process is {activity} there",
                file=sys.stderr,
            )
            return descriptor
        os.close(descriptor)


def _is_current(descriptor: int, lock: Path) -> bool:
    """Whether the locked file still has its name. Its last holder may just have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), lock.stat())
    except FileNotFoundError:
        return False
