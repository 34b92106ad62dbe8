"""Error messages for paths that are neither a run nor converted weights, but look like a likely mistake."""

import shlex
from pathlib import Path

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.directory import RunDirectory

_CHECKPOINTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")


def check_directory(path: Path, expected: str) -> None:
    """UserError if `path` is a likely mistake for a directory of `expected`, with a hint: a PyTorch file, a folder of
    such files, a folder of runs, a part of a run, or nothing at all."""
    if path.is_file():
        raise UserError(f"{path}: {_file_hint(path, expected)}")
    if not path.is_dir():
        raise UserError(f"{path}: no such directory; expected {expected}")
    if (path / "config.json").exists():
        return
    for parent in list(path.resolve().parents)[:3]:  # of checkpoints, checkpoints/STEP and checkpoints/STEP/default
        if RunDirectory(parent).config.exists() and path.resolve().is_relative_to(RunDirectory(parent).checkpoints):
            raise UserError(f"{path}: this is a part of the run {parent}; name the run itself")
    entries = sorted(path.iterdir())
    if runs := [entry.name for entry in entries if (entry / "config.json").exists()]:
        names = ", ".join(runs[:5]) + (" and others" if runs[5:] else "")
        raise UserError(f"{path}: this is a folder of {names}; name one of them")
    if files := [entry for entry in entries if entry.suffix in _CHECKPOINTS]:
        raise UserError(f"{path}: expected {expected}; {files[0].name} in it is {_conversion_hint(files[0])}")


def _file_hint(path: Path, expected: str) -> str:
    if path.suffix.lower() in _CHECKPOINTS:
        return f"this is {_conversion_hint(path)}"
    if path.suffix.lower() == ".npz":
        return f"this is an npz of arrays, which --text_embeddings takes; expected {expected}"
    return f"this is a file; expected {expected}"


def _conversion_hint(path: Path) -> str:
    command = f"python -m convert --checkpoint={shlex.quote(str(path))} --output=DIR"
    return f"a PyTorch checkpoint: convert it first ({command}) and name DIR"
