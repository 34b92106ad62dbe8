"""A directory of CLIP weights: `config.json` beside an Orbax checkpoint `params/`. It is complete or does not exist.

`config.json` is written last and holds the SHA-256 of every other file. A directory without it, or with a file that is
missing, truncated or altered, does not load. (Orbax alone would restore altered bytes without an error.)
"""

import errno
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from remoteclip_jax.clip.config import CLIPConfig
from remoteclip_jax.clip.model import Variables, init_shapes
from remoteclip_jax.errors import UserError
from remoteclip_jax.files.orbax_path import orbax_path

FORMAT, VERSION = "remoteclip_jax weights", 1


def save_weights(directory: Path, config: CLIPConfig, variables: Variables, extra: dict[str, Any]) -> None:
    """Write `variables` ({"params", "batch_stats"} of a `CLIP(config)`, or of one of its towers) to `directory`.

    `extra` goes into `config.json`. Nothing appears at `directory` before everything is on the disk. UserError if
    `directory` is not empty; OSError if the disk is full.
    """
    directory = Path(os.path.abspath(directory))  # unlike Path.resolve, it keeps links
    check_output(directory)
    orbax_path(directory)  # raises a UserError for a path that Orbax cannot use, before anything is written
    variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), variables)
    directory.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(directory)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(variables))
    if shutil.disk_usage(directory.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))
    partial = partial_path(directory)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(orbax_path(partial / "params"), variables)
        files = _digests(partial)
        content = {"format": FORMAT, "version": VERSION, "clip": config.to_json(), **extra, "files": files}
        (partial / "config.json").write_text(json.dumps(content, indent=2) + "\n")
        for path in [*(partial / name for name in files), partial / "config.json", partial]:
            _flush(path)
        os.rename(partial, directory)
        _flush(directory.parent)
    except Exception as e:
        if "No space left" in str(e):  # Orbax's own error looks like one of memory
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory)) from e
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_weights(directory: Path) -> tuple[CLIPConfig, Variables]:
    """The configuration and the variables in `directory`: NumPy float32 arrays, bit for bit as they were saved.

    UserError, naming `directory`, if it is missing, damaged, or not a directory of weights.
    """
    directory = Path(os.path.abspath(directory))
    content = _read_config(directory)
    _check_files(directory, content["files"])
    try:
        config = CLIPConfig.from_json(content["clip"])
        with ocp.StandardCheckpointer() as checkpointer:
            restored = checkpointer.restore(orbax_path(directory / "params"))
        variables = {"params": restored["params"], "batch_stats": restored.get("batch_stats") or {}}
    except UserError:
        raise
    except Exception as e:  # Orbax, TensorStore and JSON raise different ones
        raise UserError(f"{directory}: damaged weights ({_first_line(e)}); convert the checkpoint again") from e
    _check_shapes(directory, config, variables)
    return config, variables


def check_output(directory: Path) -> None:
    """UserError if `directory` is a file or is not empty, so that nothing may be written to it."""
    if directory.is_dir() and not os.path.islink(directory):
        if any(directory.iterdir()):
            raise UserError(f"{directory}: this directory is not empty; choose another one or remove it")
    elif os.path.lexists(directory):
        raise UserError(f"{directory}: there is a file of this name; choose another directory")


def _read_config(directory: Path) -> dict[str, Any]:
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory of weights; python -m convert makes one from a .pt file")
    if not (directory / "config.json").is_file():
        raise UserError(f"{directory}: not a directory of weights (no config.json); python -m convert makes one")
    try:
        content = json.loads((directory / "config.json").read_text())
    except ValueError as e:
        raise UserError(f"{directory}: config.json is damaged ({_first_line(e)}); convert the checkpoint again") from e
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{directory}: not a directory of weights; python -m convert makes one from a .pt file")
    if content.get("version") != VERSION:
        raise UserError(
            f"{directory}: weights of version {content.get('version')}, this program reads version {VERSION}; "
            "convert the checkpoint again"
        )
    if not isinstance(content.get("files"), dict) or not isinstance(content.get("clip"), dict):
        raise UserError(f"{directory}: config.json is damaged; convert the checkpoint again")
    return content


def _digests(directory: Path) -> dict[str, str]:
    """The SHA-256 of every file below `directory`, by relative path."""
    return {str(p.relative_to(directory)): _digest(p) for p in sorted(directory.rglob("*")) if p.is_file()}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_files(directory: Path, files: dict[str, str]) -> None:
    for name, digest in files.items():
        path = directory / name
        problem = "is missing" if not path.is_file() else "is damaged" if _digest(path) != digest else None
        if problem:
            raise UserError(f"{directory}: {name} {problem}; convert the checkpoint again")


def _check_shapes(directory: Path, config: CLIPConfig, variables: Variables) -> None:
    """UserError if a tower in `variables` is incomplete or has other shapes than `config`."""
    full = init_shapes(config)
    expected = {
        collection: {name: full[collection].get(name) for name in towers} for collection, towers in variables.items()
    }
    shapes = [jax.tree.map(lambda leaf: tuple(leaf.shape), tree) for tree in (expected, variables)]
    if shapes[0] != shapes[1]:
        raise UserError(f"{directory}: the tensors are not those of its config.json; convert the checkpoint again")


def partial_path(directory: Path) -> Path:
    """Where this process prepares `directory`. It lies beside it: a rename is atomic only within one file system."""
    return directory.with_name(f".{directory.name}.{os.getpid()}.partial")


def remove_abandoned(directory: Path) -> None:
    """Remove the partial directories that killed processes have left beside `directory`."""
    for path in directory.parent.iterdir():
        match = re.fullmatch(rf"\.{re.escape(directory.name)}\.(\d+)\.partial", path.name)
        if match and not _is_alive(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process, which is alive
        return True
    return True


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
