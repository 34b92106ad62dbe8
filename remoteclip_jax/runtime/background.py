"""Work that threads do in the background while the main thread keeps the device busy: how far ahead of it, and how much
of it at a time."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

MAX_THREADS = 16


@contextlib.contextmanager
def background_threads() -> Iterator[ThreadPoolExecutor]:
    """A thread for each core, up to `MAX_THREADS`. Work that has not begun at the end is dropped."""
    pool = ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def in_advance(items: Iterable[T], count: int) -> Iterator[T]:
    """The same items in the same order, of which `count` are taken from `items` before they are needed."""
    taken: deque[T] = deque()
    for item in items:
        taken.append(item)
        if len(taken) > count:
            yield taken.popleft()
    yield from taken


class Allowance:
    """An amount of something, such as memory, that threads use together. Close it to free those that wait for it."""

    def __init__(self, limit: int) -> None:
        self._limit, self._free, self._closed = limit, limit, False
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def use(self, amount: int) -> Iterator[None]:
        """Wait until `amount` is free, and keep it for the `with` block. More than the limit counts as the limit.

        CancelledError if the allowance is closed.
        """
        amount = min(amount, self._limit)
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._free >= amount)
            if self._closed:
                raise CancelledError
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()

    def close(self) -> None:
        """Give nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
