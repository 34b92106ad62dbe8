"""What a command prints comes out on any terminal and into any pipe, and an error is one line whatever stands in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from remoteclip_jax.errors import error_line
from tests.command import ROOT

PROGRAM = """
import sys
from remoteclip_jax.errors import UserError, run
def main():
    {main}
run(main)
"""


def start(main: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(main=main)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("name", ["a\nb", "a\r\nb", "a\x1b[2J", "a\u2028b", "a\x85b", "a\x00b", "\udcff", "a\u202eb"])
def test_one_line_whatever_stands_in_it(name: str) -> None:
    line = error_line(f"{name}: no such file")
    assert line.isprintable()
    assert line.startswith("error: ")
    assert line.endswith(": no such file")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_any_pipe_takes_any_name(encoding: str) -> None:
    out, err = start(
        "print('a → b', '船', chr(0xDCFF)); raise UserError('→ 船' + chr(0xDCFF))", PYTHONIOENCODING=encoding
    ).communicate()
    assert b"Traceback" not in err
    assert out.splitlines() == [("a → b 船".encode(encoding, "backslashreplace") + rb" \udcff")]
    assert err.splitlines() == ["error: → 船".encode(encoding, "backslashreplace") + rb"\udcff"]


@pytest.mark.parametrize("main", ["[print('x' * 100) for _ in range(10000)]", "print('x')"])
def test_a_reader_that_goes_away_ends_the_command_quietly(main: str) -> None:
    process = start(main)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    assert process.wait() == 141
    process.stderr.close()
    assert error == b""


def test_an_interrupt_during_a_garbage_collection_is_not_lost() -> None:
    """JAX has a callback there, in which Python drops exceptions."""
    process = start(
        """
    import gc, time
    def callback(*_):
        gc.callbacks.remove(callback)
        raise KeyboardInterrupt
    gc.callbacks.append(callback)
    gc.collect()
    time.sleep(60)
"""
    )
    _, error = process.communicate(timeout=50)
    assert (process.returncode, error) == (130, b"\ninterrupted\n")


def test_a_broken_pipe_elsewhere_is_an_error_of_the_program(tmp_path: Path) -> None:
    _, err = start("raise BrokenPipeError(32, 'Broken pipe', 'worker')").communicate()
    assert err == b"error: worker: Broken pipe\n"
