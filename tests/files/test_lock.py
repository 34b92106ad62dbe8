"""A directory is one process's at a time, and nobody's once that process is gone."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from remoteclip_jax.errors import UserError
from remoteclip_jax.files.lock import exclusive_lock
from tests.command import ROOT

HOLDER = """
import os, sys, time
from pathlib import Path
from remoteclip_jax.files.lock import exclusive_lock
with exclusive_lock(Path(sys.argv[1], ".lock"), "training", "--workdir"):
    child = os.fork()  # which lives on when its parent is killed
    if child:
        print(child, flush=True)
    time.sleep(60)
"""


WORDS = ("training", "--workdir")


def is_free(lock: Path) -> bool:
    try:
        with exclusive_lock(lock, *WORDS):
            return True
    except UserError:
        return False


def test_a_second_one_is_refused_and_the_first_one_is_not_disturbed(tmp_path: Path) -> None:
    lock = tmp_path / "runs" / "a" / ".lock"
    with exclusive_lock(lock, *WORDS):
        with (
            pytest.raises(
                UserError, match="another process is training here; wait until it ends, or choose another --workdir"
            ),
            exclusive_lock(lock, *WORDS),
        ):
            pass
        assert not is_free(lock)
        assert is_free(tmp_path / "runs" / "b" / ".lock")
    assert is_free(lock)
    assert list(lock.parent.iterdir()) == []


def test_an_error_lets_go(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with pytest.raises(ZeroDivisionError), exclusive_lock(lock, *WORDS):
        raise ZeroDivisionError
    assert is_free(lock)


def test_a_killed_process_leaves_no_lock_behind(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        assert not is_free(lock)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        while not is_free(lock):  # a child that had not come to let go yet
            time.sleep(0.01)
        assert lock.exists() is False
    finally:
        os.kill(child, signal.SIGKILL)
        holder.stdout.close()


def test_a_lock_removed_at_the_same_moment_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last holder removes the file between the opening and the locking of the next one."""
    lock, flock, moments = tmp_path / ".lock", fcntl.flock, []

    def late(descriptor: int, operation: int) -> None:
        if not moments:
            lock.unlink()
        moments.append(operation)
        flock(descriptor, operation)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", late)
        with exclusive_lock(lock, *WORDS):
            assert lock.exists()
            assert not is_free(lock)
    assert len(moments) == 3


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unsupported(*_: Any) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with exclusive_lock(tmp_path / ".lock", *WORDS):
        pass
    assert "file system without locks" in capsys.readouterr().err
