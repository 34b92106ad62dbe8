"""Errors that a user can cause, and the one way in which every command line reports them.

A command ends with exit code 2 and one line on stderr, ``error: …``, that names the file and what to do about it.
Whatever is printed, the terminal or the pipe takes it: what its encoding lacks is escaped.
"""

import errno
import io
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from absl import app, flags, logging

from remoteclip_jax.printable import printable


class UserError(Exception):
    """Something the user can put right: a wrong flag, a broken file, an unknown class name. The message is one line,
    whatever names stand in it."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def error_line(message: object) -> str:
    """`message` as the one line on stderr, whatever names stand in it."""
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
    """The one line that tells a user what went wrong, or None where `error` is a defect of the program itself."""
    if isinstance(error, UserError):
        return str(error)
    text = str(error)
    if "No space left" in text or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
        where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        return f"no space left on the disk{where}: free some and start the command again"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "Out of memory" in text:
        return "out of memory: choose a smaller --batch_size or --image_size"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else text
    return None


def _main_thread_only(unraisable: Any) -> None:
    """For `sys.unraisablehook`: TensorStore's threads print a traceback for each piece that a full disk refused, in the
    middle of the one line that says so."""
    if threading.current_thread() is threading.main_thread():
        sys.__unraisablehook__(unraisable)


def _print_anything() -> None:
    """An arrow to a pipe in cp1252, or a file name that is no UTF-8, must not end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nobody_reads() -> bool:
    """Whether what is printed has nobody to read it any more, as after ``| head``; from then on it goes nowhere."""
    output = sys.stdout.fileno()
    poll = select.poll()
    poll.register(output, 0)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # Python flushes once more as it ends
    return True


def _show_in_help(main: Callable[[], None]) -> None:
    """Let --help show the flags and the docstring of `main`'s module, which need not be the script that was started."""
    module = sys.modules[main.__module__]
    for flag in flags.FLAGS.get_key_flags_for_module(module):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    sys.modules["__main__"].__doc__ = module.__doc__


def run(main: Callable[[], None]) -> NoReturn:
    """Parse the absl flags, call `main()`, and turn whatever a user can cause into one line and exit code 2."""

    def guarded(_: Sequence[str]) -> None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.FATAL)  # Orbax tells of each file, and tells errors twice
        try:
            main()
            sys.stdout.flush()
        except KeyboardInterrupt as e:
            print(f"\n{str(e) or 'interrupted'}", file=sys.stderr)
            sys.exit(getattr(e, "code", 128 + signal.SIGINT))
        except Exception as e:
            if isinstance(e, BrokenPipeError) and _nobody_reads():
                sys.exit(128 + signal.SIGPIPE)  # what a shell reports of a program that ends by it
            message = user_message(e)
            if message is None:
                raise
            _fail(message)

    sys.unraisablehook = _main_thread_only
    _print_anything()
    _show_in_help(main)
    app.run(guarded, flags_parser=_parse_flags)
    raise AssertionError("app.run does not return")
