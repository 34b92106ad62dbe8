"""A profile of a training step: the operations that it spends its time on.

XLA's profiler writes an event for every operation that the device runs, with the name of its instruction in the
compiled program. The program tells the kind of the instruction, and the part of the model that it comes from.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

KINDS = ("matmul/conv", "normalisation", "data movement", "other", "host")
# A stage of the model is the first of these found in the operation's path.
STAGES = {
    "backbone": "visual",
    "pyramid": "pyramid",
    "decoder": "decoder|content|places",
    "heads": "class_head|boxes_|tower",
    "matching": "matching",
    "losses": "losses",
    "optimizer": "optimizer",
}
_NORMALISATION = re.compile(r"/(bn\d|norm\w*|ln\w*|\w*_norm|1)/|BatchNorm|LayerNorm|logsumexp|softmax")
_MOVES = {
    "copy",
    "transpose",
    "broadcast",
    "slice",
    "dynamic-slice",
    "dynamic-update-slice",
    "concatenate",
    "pad",
    "reshape",
    "bitcast",
    "gather",
    "scatter",
    "copy-start",
    "copy-done",
    "reverse",
    "iota",
    "convert",
    "tuple",
    "get-tuple-element",
    "parameter",
    "constant",
}
_PRODUCTS = {"dot", "convolution"}
_LIBRARIES = re.compile(r"cublas|cudnn|onednn|gemm|conv", re.IGNORECASE)

_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (?:\([^=]*?\)|\S+) ([\w-]+)\(")
_PATH = re.compile(r'op_name="([^"]*)"')
_CALLS = re.compile(r"(?:calls|to_apply|body)=%?([\w.-]+)")


@dataclass(frozen=True)
class Instruction:
    """An instruction of the compiled program. `path` is its place in the model, by module names."""

    kind: str
    path: str

    @property
    def stage(self) -> str:
        """The stage of the model: one of `STAGES`, or "other"."""
        return next((name for name, pattern in STAGES.items() if re.search(pattern, self.path)), "other")


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
    return profile_from_events(_device_events(latest), parse_instructions(program))


def parse_instructions(program: str) -> dict[str, Instruction]:
    """The instructions in the text of a compiled program, by name."""
    bodies: dict[str, list[tuple[str, str, str]]] = defaultdict(list)  # by computation: name, opcode and line
    computation = ""
    for line in program.splitlines():
        if found := _INSTRUCTION.match(line):
            bodies[computation].append((found[1], found[2], line))
        elif found := _COMPUTATION.match(line):
            computation = found[1]
    result = {}
    for body in bodies.values():
        for name, opcode, line in body:
            path = found[1] if (found := _PATH.search(line)) else ""
            called = _CALLS.search(line) if opcode in ("fusion", "call") else None
            inside = bodies.get(called[1], []) if called else []
            path = path or next((f[1] for *_, text in reversed(inside) if (f := _PATH.search(text))), "")
            result[name] = Instruction(_kind(opcode, line, {code for _, code, _ in inside}, path), path)
    return result


def _kind(opcode: str, line: str, inside: set[str], path: str) -> str:
    if opcode in _PRODUCTS or inside & _PRODUCTS or (opcode == "custom-call" and _LIBRARIES.search(line)):
        return "matmul/conv"
    if opcode in _MOVES or (inside and inside <= _MOVES):
        return "data movement"
    if _NORMALISATION.search(path):
        return "normalisation"
    return "other"


def profile_from_events(
    lines: Iterable[list[tuple[str, float, float]]], instructions: dict[str, Instruction]
) -> Profile:
    """The profile of events (name, begin, end), one list for each thread or stream. ValueError if there are none."""
    self_times: dict[str, float] = defaultdict(float)
    spans: list[tuple[float, float]] = []
    for events in lines:
        spans += [(begin, end) for _, begin, end in events]
        for name, seconds in _self_times(events):
            self_times[name] += seconds
    total = sum(self_times.values())
    if not total:
        raise ValueError("the trace has no operations of the device")
    busy = _union_length(spans) / (max(end for _, end in spans) - min(begin for begin, _ in spans))
    unknown = Instruction("other", "")
    operations = [Operation(name, instructions.get(name, unknown), busy * t / total) for name, t in self_times.items()]
    operations.sort(key=lambda operation: -operation.share)
    kinds, stages = dict.fromkeys(KINDS, 0.0), dict.fromkeys([*STAGES, "other", "host"], 0.0)
    for operation in operations:
        kinds[operation.instruction.kind] += operation.share
        stages[operation.instruction.stage] += operation.share
    kinds["host"] = stages["host"] = 1 - busy
    return Profile(operations, kinds, stages)


def _self_times(events: list[tuple[str, float, float]]) -> list[tuple[str, float]]:
    """The name and the time of each event, without the events inside it."""
    times: list[tuple[str, float]] = []
    stack: list[tuple[str, float, float]] = []  # name, end, self time

    def close(until: float) -> None:
        while stack and stack[-1][1] <= until:
            name, _, seconds = stack.pop()
            times.append((name, seconds))

    for name, begin, end in sorted(events, key=lambda event: (event[1], -event[2])):
        close(begin)
        if stack:
            outer, outer_end, seconds = stack[-1]
            stack[-1] = outer, outer_end, seconds - (end - begin)
        stack.append((name, end, end - begin))
    close(float("inf"))
    return times


def _union_length(spans: list[tuple[float, float]]) -> float:
    """The length of the union of intervals."""
    covered, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        covered += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return covered


def _device_events(path: Path) -> list[list[tuple[str, float, float]]]:
    """The events of a trace that name an instruction, as (name, begin, end), one list for each thread or stream."""
    data = jax.profiler.ProfileData.from_file(str(path))
    lines = []
    for plane in data.planes:
        for line in plane.lines:
            events = []
            for event in line.events:
                name = dict(event.stats).get("hlo_op")
                if name is not None:
                    events.append((str(name), event.start_ns, event.start_ns + event.duration_ns))
            if events:
                lines.append(events)
    return lines
