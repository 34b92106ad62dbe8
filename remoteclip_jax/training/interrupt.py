"""SIGINT and SIGTERM while training: the step that runs is ended and saved before the program goes."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """Training was interrupted and has saved what it had. `code` is the exit code that a shell expects."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.code = 128 + number


@contextlib.contextmanager
def deferred_signals() -> Iterator[Callable[[], int | None]]:
    """A function that tells which of the two signals has come since, or None. A second SIGINT interrupts at once.

    Signals belong to the main thread: in any other they stay as they are.
    """
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: received[0] if received else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
