"""SIGINT and SIGTERM during training: the current step is completed and saved before the program ends."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """Training was interrupted, after its state was saved. `code` is the exit code that a shell expects."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.code = 128 + number


@contextlib.contextmanager
def deferred_signals() -> Iterator[Callable[[], int | None]]:
    """A function that returns the number of the signal that has arrived, or None. A second SIGINT interrupts at once.

    Only the main thread can receive signals. In any other thread nothing is changed.
    """
    received: list[int] = []

    def record(number: int, _: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    previous = {number: signal.signal(number, record) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: received[0] if received else None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
