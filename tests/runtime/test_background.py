"""Threads in the background: what they read ahead, what they share, and that nobody waits for what is not needed."""

import threading
import time
from concurrent.futures import CancelledError

import pytest

from remoteclip_jax.runtime.background import Allowance, background_threads, in_advance


def test_items_are_taken_in_advance_in_their_order() -> None:
    taken: list[int] = []
    items = in_advance((taken.append(i) or i for i in range(6)), 2)
    assert taken == []
    assert next(items) == 0
    assert taken == [0, 1, 2]
    assert list(items) == [1, 2, 3, 4, 5]
    assert list(in_advance(iter("abc"), 5)) == ["a", "b", "c"]
    assert list(in_advance(iter("abc"), 0)) == ["a", "b", "c"]


def test_no_more_is_used_than_allowed_and_what_exceeds_it_is_used_alone() -> None:
    allowance, lock = Allowance(10), threading.Lock()
    used: list[int] = []
    at_once: list[list[int]] = []

    def use(amount: int) -> None:
        with allowance.use(amount):
            with lock:
                used.append(amount)
                at_once.append(list(used))
            time.sleep(0.001)
            with lock:
                used.remove(amount)

    threads = [threading.Thread(target=use, args=(amount,)) for amount in (4, 99, 5, 3, 10, 6, 1) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(at_once) == len(threads)
    assert all(sum(amounts) <= 10 or amounts == [99] for amounts in at_once)


def test_an_allowance_that_is_closed_frees_those_who_wait() -> None:
    allowance = Allowance(1)
    with background_threads() as pool, allowance.use(1):
        waiting = pool.submit(lambda: allowance.use(1).__enter__())
        allowance.close()
        with pytest.raises(CancelledError):
            waiting.result()


def test_work_that_has_not_begun_is_dropped() -> None:
    began, release = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        release.wait()

    with background_threads() as pool:
        futures = [pool.submit(work) for _ in range(100)]
        began.wait()
        threading.Timer(0.05, release.set).start()
    assert all(future.done() for future in futures)
    assert futures[-1].cancelled()
