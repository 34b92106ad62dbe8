"""Batches come in order and on the devices, a few ahead; those of another first phase start where the training is."""

import itertools
from collections.abc import Generator
from typing import Any

import jax
import numpy as np

from remoteclip_jax.tasks.configuration import new_config
from remoteclip_jax.training.stream import AHEAD, BatchStream
from remoteclip_jax.training.workload import Workload


class Source:
    """Batches that know their step and phase, and a record of what was read, placed and closed."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.closed = 0

    def batches(self, step: int, first_steps: int) -> Generator[dict[str, np.ndarray], None, None]:
        try:
            for i in itertools.count(step):
                self.read.append(i)
                yield {"step": np.full(2, i, np.int32), "first": np.full(2, i < first_steps)}
        finally:
            self.closed += 1


def make_workload(source: Source) -> Workload:
    """A workload with nothing but batches."""

    def nothing(*_: Any) -> Any: ...

    return Workload(new_config({}), nothing, nothing, nothing, source.batches, 1, None)


def take(stream: BatchStream, count: int) -> list[tuple[int, bool]]:
    found = [next(stream) for _ in range(count)]
    assert all(isinstance(x, jax.Array) for batch in found for x in batch.values())
    return [(int(batch["step"][0, 0]), bool(batch["first"][0, 0])) for batch in found]


def test_batches_are_placed_ahead_and_come_in_order() -> None:
    source = Source()
    stream = BatchStream(make_workload(source), 5, 0)
    for count in range(1, 6):
        assert take(stream, 1) == [(4 + count, False)]
        assert source.read == list(range(5, 5 + (1 if count == 1 else count - 1 + AHEAD)))  # the first step is not late
        stream.read_ahead()
        assert source.read == list(range(5, 5 + count + AHEAD))
    stream.close()
    assert source.closed == 1


def test_batches_come_without_reading_ahead() -> None:
    source = Source()
    assert take(BatchStream(make_workload(source), 0, 1), 3) == [(0, True), (1, False), (2, False)]
    assert source.read == [0, 1, 2]


def test_what_was_read_ahead_is_dropped_when_the_first_phase_changes() -> None:
    source = Source()
    stream = BatchStream(make_workload(source), 0, 10)
    assert take(stream, 4) == [(i, True) for i in range(4)]
    stream.set_first_steps(4, 10)  # no change
    assert take(stream, 1) == [(4, True)]
    stream.read_ahead()
    assert source.read == list(range(5 + AHEAD))
    stream.set_first_steps(5, 6)
    assert source.closed == 1
    assert take(stream, 3) == [(5, True), (6, False), (7, False)]
    stream.close()
    assert source.closed == 2


def test_a_stream_that_was_never_read_is_closed() -> None:
    BatchStream(make_workload(Source()), 0, 0).close()
