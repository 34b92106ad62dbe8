"""The batches of a training, on the devices before they are needed."""

from collections import deque

from remoteclip_jax.data.pipeline import Batches
from remoteclip_jax.training.workload import Batch, Workload

AHEAD = 2  # batches on the devices beyond those that steps have got


class BatchStream:
    """The batches of `workload` after step `done`, as its `place` puts them on the devices.

    Call `read_ahead` after every step: neither handing over a step nor a transfer to an accelerator blocks, so the next
    batches are read and on their way while the devices compute.
    """

    def __init__(self, workload: Workload, done: int, first_steps: int) -> None:
        self._workload, self._first_steps = workload, first_steps
        self._batches: Batches = workload.batches(done, first_steps)
        self._placed: deque[Batch] = deque()

    def __next__(self) -> Batch:
        if not self._placed:
            self._read()
        return self._placed.popleft()

    def read_ahead(self) -> None:
        """Read and place the next `AHEAD` batches."""
        while len(self._placed) < AHEAD:
            self._read()

    def set_first_steps(self, done: int, first_steps: int) -> None:
        """Start again after step `done`, if this changes the length of the first phase. What was read ahead is
        dropped, because it may be of the wrong phase."""
        if first_steps == self._first_steps:
            return
        self.close()
        self._first_steps, self._batches = first_steps, self._workload.batches(done, first_steps)

    def close(self) -> None:
        """Stop reading, and drop what was read ahead."""
        self._batches.close()
        self._placed.clear()

    def _read(self) -> None:
        self._placed.append(self._workload.place(next(self._batches)))
