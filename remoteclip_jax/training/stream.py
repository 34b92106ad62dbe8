"""The batches of a training, on the devices before they are needed."""

from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing

from remoteclip_jax.data.pipeline import Batches
from remoteclip_jax.training.workload import Batch, Workload

AHEAD = 2  # batches on the devices beyond the one that a step gets


class BatchStream:
    """The batches of `workload` from the step after `done` on, as its `place` puts them on the devices.

    A transfer to an accelerator does not block, so `AHEAD` batches are on their way while the devices compute.
    """

    def __init__(self, workload: Workload, done: int, first_steps: int) -> None:
        self._workload, self._first_steps = workload, first_steps
        self._batches = self._from(done)

    def __next__(self) -> Batch:
        return next(self._batches)

    def set_first_steps(self, done: int, first_steps: int) -> None:
        """Start again after step `done`, if this changes the length of the first phase. What was read ahead is
        dropped, because it may be of the wrong phase."""
        if first_steps == self._first_steps:
            return
        self.close()
        self._first_steps = first_steps
        self._batches = self._from(done)

    def close(self) -> None:
        """Stop reading."""
        self._batches.close()

    def _from(self, done: int) -> Generator[Batch, None, None]:
        return _placed_ahead(self._workload.batches(done, self._first_steps), self._workload.place)


def _placed_ahead(batches: Batches, place: Callable[[Batch], Batch]) -> Generator[Batch, None, None]:
    """`place(batch)` for every batch, made `AHEAD` batches earlier than it is asked for."""
    placed: deque[Batch] = deque()
    with closing(batches):
        for batch in batches:
            placed.append(place(batch))
            if len(placed) > AHEAD:
                yield placed.popleft()
        yield from placed
