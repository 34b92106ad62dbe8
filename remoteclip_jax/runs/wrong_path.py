"""What was named in place of a run or of converted weights, in words, and what to name instead."""

import shlex
from pathlib import Path

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.directory import RunDirectory

_CHECKPOINTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")


def check_directory(path: Path, expected: str) -> None:
    """UserError where `path` is no directory of `expected` but a neighbour of one: a PyTorch file, a folder of them, a
    folder of runs, a part of a run."""
    if path.is_file():
        raise UserError(f"{path}: {_file(path, expected)}")
    if not path.is_dir():
        raise UserError(f"{path}: no such directory; expected {expected}")
    if (path / "config.json").exists():
        return
    for parent in list(path.resolve().parents)[:3]:  # CHECKPOINTS, CHECKPOINTS/STEP and CHECKPOINTS/STEP/default
        if RunDirectory(parent).config.exists() and path.resolve().is_relative_to(RunDirectory(parent).checkpoints):
            raise UserError(f"{path}: this is a part of the run {parent}; name the run itself")
    inside = sorted(path.iterdir())
    if runs := [p.name for p in inside if (p / "config.json").exists()]:
        names = ", ".join(runs[:5]) + (" and others" if runs[5:] else "")
        raise UserError(f"{path}: this is a folder of {names}; name one of them")
    if files := [p for p in inside if p.suffix in _CHECKPOINTS]:
        raise UserError(f"{path}: expected {expected}; {files[0].name} in it is {_torch(files[0])}")


def _file(path: Path, expected: str) -> str:
    if path.suffix.lower() in _CHECKPOINTS:
        return f"this is {_torch(path)}"
    if path.suffix.lower() == ".npz":
        return f"this is an npz of arrays, which --text_embeddings takes; expected {expected}"
    return f"this is a file; expected {expected}"


def _torch(path: Path) -> str:
    command = f"python -m convert --checkpoint={shlex.quote(str(path))} --output=DIR"
    return f"a PyTorch checkpoint: convert it first ({command}) and name DIR"
