"""Errors that a user can cause, and how all command lines report them.

A command ends with exit code 2 and one line on stderr, ``error: …``, which names the file and the remedy. Characters
that the encoding of a terminal or a pipe lacks are printed escaped.
"""

import _thread
import errno
import io
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from absl import app, flags, logging

from remoteclip_jax.printable import printable


class UserError(Exception):
    """A problem that the user can fix: a wrong flag, a broken file, an unknown class name. The message is one line,
    whatever names it contains."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def error_line(message: object) -> str:
    """`message` as one line for stderr, whatever names it contains."""
    return "error: " + printable(" ".join(str(message).split()))


def _fail(message: str) -> NoReturn:
    print(error_line(message), file=sys.stderr)
    sys.exit(2)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as e:
        _fail(f"{e} (try --help)")
    if len(rest) > 1:
        _fail(f"unexpected argument {rest[1]!r}: every option is written --name=value (try --help)")
    return rest


def user_message(error: BaseException) -> str | None:
    """One line that tells the user what went wrong; None if `error` is a defect of the program itself."""
    if isinstance(error, UserError):
        return str(error)
    text = str(error)
    if "No space left" in text or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
        where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        return f"no space left on the disk{where}: free some space and start the command again"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "Out of memory" in text:
        return "out of memory: choose a smaller --batch_size or --image_size"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else text
    return None


def _signal_later(number: int) -> None:
    """Send a signal to the main thread, when it has long left the hook that started this."""
    time.sleep(0.2)
    signal.pthread_kill(threading.main_thread().ident or 0, number)


def _main_thread_hook(unraisable: Any) -> None:
    """A `sys.unraisablehook` that is silent in other threads. On a full disk, TensorStore's threads would print a
    traceback for each failed write, in the middle of the error line.

    Python drops an interrupt that comes during a garbage collection, in which JAX has a callback. It is sent again."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        number = getattr(unraisable.exc_value, "code", 128 + signal.SIGINT) - 128
        # Not by `threading`, which would wait for the thread here, where the interrupt would be dropped once more.
        _thread.start_new_thread(_signal_later, (number,))
    elif threading.current_thread() is threading.main_thread():
        sys.__unraisablehook__(unraisable)


def _escape_unencodable_output() -> None:
    """Without this, an arrow to a pipe in cp1252, or a file name that is not UTF-8, would end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _redirect_closed_stdout() -> bool:
    """Whether the reader of stdout has gone, as with ``| head``. If so, stdout is redirected to the null device."""
    output = sys.stdout.fileno()
    poll = select.poll()
    poll.register(output, 0)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # Python flushes stdout once more at exit
    return True


def _show_in_help(main: Callable[[], None]) -> None:
    """Let --help show the flags and the docstring of `main`'s module, even if another script was started."""
    module = sys.modules[main.__module__]
    for flag in flags.FLAGS.get_key_flags_for_module(module):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    sys.modules["__main__"].__doc__ = module.__doc__


def run(main: Callable[[], None]) -> NoReturn:
    """Parse the absl flags and call `main()`. Errors that a user can cause become one line and exit code 2."""

    def guarded(_: Sequence[str]) -> None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.FATAL)  # Orbax logs every file, and reports errors twice
        try:
            main()
            sys.stdout.flush()
        except KeyboardInterrupt as e:
            print(f"\n{str(e) or 'interrupted'}", file=sys.stderr)
            sys.exit(getattr(e, "code", 128 + signal.SIGINT))
        except Exception as e:
            if isinstance(e, BrokenPipeError) and _redirect_closed_stdout():
                sys.exit(128 + signal.SIGPIPE)  # as a shell reports it for a program that this signal ends
            message = user_message(e)
            if message is None:
                raise
            _fail(message)

    sys.unraisablehook = _main_thread_hook
    _escape_unencodable_output()
    _show_in_help(main)
    app.run(guarded, flags_parser=_parse_flags)
    raise AssertionError("app.run does not return")
