"""A profile of a training step: the operations that it spends its time on.

XLA's profiler writes an event for every operation that the device runs, with the name of its instruction in the
compiled program. The program tells the kind of the instruction, and the part of the model that it comes from.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax

from remoteclip_jax.benchmark.instructions import KINDS, STAGES, Instruction, parse_instructions, unnamed_instruction

_ACCELERATOR = re.compile(r"/device:(GPU|TPU):\d")
_STREAM = re.compile(r"Stream #|XLA Ops$")  # the lines of an accelerator on which operations run: of a GPU, of a TPU


class Event(NamedTuple):
    """Something that the device ran from `begin` to `end`, in nanoseconds. `name` is that of its instruction, else its
    own. `kernel` and `path` are what the trace itself says: the kernel's name, and the place in the model."""

    name: str
    begin: float
    end: float
    kernel: str = ""
    path: str = ""


@dataclass(frozen=True)
class Operation:
    """An instruction and its share of a step's time, without the operations that run inside it."""

    name: str
    instruction: Instruction
    share: float


@dataclass(frozen=True)
class Profile:
    """Shares of a step's time: by operation, the most expensive first; by kind; and by stage of the model.

    The shares of the kinds add up to one, and so do those of the stages. "host" is the time in which no operation ran.
    If operations run at the same time, they share that time.
    """

    operations: list[Operation]
    kinds: dict[str, float]
    stages: dict[str, float]


def trace_profile(call: Callable[[], Any], steps: int, folder: Path, program: str) -> Profile:
    """The profile of `steps` calls. Their trace is written into `folder`, where TensorBoard and Perfetto can read it.
    `program` is the text of the compiled program that `call` runs."""
    jax.block_until_ready(call())
    with jax.profiler.trace(str(folder)):
        for _ in range(steps):
            result = call()
        jax.block_until_ready(result)
    latest = max(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    planes = jax.profiler.ProfileData.from_file(str(latest)).planes
    return profile_from_events(device_events(planes), parse_instructions(program))


def device_events(planes: Iterable[Any]) -> list[list[Event]]:
    """The operations in the planes of a `jax.profiler.ProfileData`, one list for each stream or thread.

    An accelerator has planes of its own, whose streams hold all that it ran; the host's threads then have the launches
    of the same operations, which do not count. On a CPU, operations are the threads' events that name an instruction.
    """
    planes = list(planes)
    accelerators = [plane for plane in planes if _ACCELERATOR.match(plane.name)]
    if accelerators:
        lines = [line for plane in accelerators for line in plane.lines if _STREAM.match(line.name)]
    else:
        lines = [line for plane in planes for line in plane.lines]
    found = [
        [_event(event, stats) for event in line.events if "hlo_op" in (stats := dict(event.stats)) or accelerators]
        for line in lines
    ]
    return [events for events in found if events]


def _event(event: Any, stats: dict[str, Any]) -> Event:
    name, path = stats.get("hlo_op") or event.name, stats.get("tf_op") or stats.get("name") or ""
    return Event(str(name), event.start_ns, event.start_ns + event.duration_ns, event.name, str(path))


def profile_from_events(lines: Iterable[list[Event]], instructions: dict[str, Instruction]) -> Profile:
    """The profile of events, one list for each thread or stream. ValueError if there are none."""
    self_times: dict[str, float] = defaultdict(float)
    spans: list[tuple[float, float]] = []
    known = dict(instructions)
    for events in lines:
        spans += [(event.begin, event.end) for event in events]
        for event, seconds in _self_times(events):
            self_times[event.name] += seconds
            if event.name not in known:
                known[event.name] = unnamed_instruction(event.kernel, event.path)
            elif not known[event.name].path:
                known[event.name] = Instruction(known[event.name].kind, event.path)
    total = sum(self_times.values())
    if not total:
        raise ValueError("the trace has no operations of the device")
    busy = _union_length(spans) / (max(end for _, end in spans) - min(begin for begin, _ in spans))
    operations = [Operation(name, known[name], busy * t / total) for name, t in self_times.items()]
    operations.sort(key=lambda operation: -operation.share)
    kinds, stages = dict.fromkeys(KINDS, 0.0), dict.fromkeys([*STAGES, "other", "host"], 0.0)
    for operation in operations:
        kinds[operation.instruction.kind] += operation.share
        stages[operation.instruction.stage] += operation.share
    kinds["host"] = stages["host"] = 1 - busy
    return Profile(operations, kinds, stages)


def _self_times(events: list[Event]) -> list[tuple[Event, float]]:
    """Each event and its time, without that of the events inside it."""
    times: list[tuple[Event, float]] = []
    stack: list[tuple[Event, float]] = []

    def close(until: float) -> None:
        while stack and stack[-1][0].end <= until:
            times.append(stack.pop())

    for event in sorted(events, key=lambda event: (event.begin, -event.end)):
        close(event.begin)
        length = event.end - event.begin
        if stack:
            outer, seconds = stack[-1]
            stack[-1] = outer, seconds - length
        stack.append((event, length))
    close(float("inf"))
    return times


def _union_length(spans: list[tuple[float, float]]) -> float:
    """The length of the union of intervals."""
    covered, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        covered += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return covered
