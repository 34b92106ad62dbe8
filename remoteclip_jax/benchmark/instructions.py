"""The instructions of a compiled program: what kind of work each does, and for which part of the model."""

import re
from collections import defaultdict
from dataclasses import dataclass

KINDS = ("matmul/conv", "normalisation", "data movement", "other", "host")
# A stage of the model is the first of these found in the operation's path.
STAGES = {
    "backbone": "visual",
    "pyramid": "pyramid",
    "suppression": "suppression",
    "decoder": "decoder|content|places",
    "heads": "class_head|boxes_|tower",
    "matching": "matching",
    "losses": "losses",
    "optimizer": "optimizer|moving_average",
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
_LIBRARIES = re.compile(r"cublas|cudnn|onednn|gemm|conv(?!ert)", re.IGNORECASE)

_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (?:\([^=]*?\)|\S+) ([\w-]+)\(")
_PATH = re.compile(r'op_name="([^"]*)"')
_COMMENT = re.compile(r"/\*.*?\*/")  # as in long tuples of results: /*index=5*/
_TRANSFER = re.compile(r"mem(cpy|set)", re.IGNORECASE)
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


def parse_instructions(program: str) -> dict[str, Instruction]:
    """The instructions in the text of a compiled program, by name."""
    bodies: dict[str, list[tuple[str, str, str]]] = defaultdict(list)  # by computation: name, opcode and line
    computation = ""
    for text in program.splitlines():
        line = _COMMENT.sub("", text)
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


def unnamed_instruction(kernel: str, path: str) -> Instruction:
    """What can be told of an operation that the program does not name, from its kernel and its place in the model."""
    if _TRANSFER.search(kernel):
        return Instruction("data movement", path)
    return Instruction(_kind("custom-call", kernel, set(), path), path)
