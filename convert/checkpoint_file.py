"""Reading PyTorch checkpoints from unknown sources: only their tensors are read, and no code in them is run."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convert import require
from convert.torchscript import is_torchscript, read_torchscript
from remoteclip_jax.errors import UserError

_WRAPPERS = ("state_dict", "model", "model_state_dict")
_PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile
_OPENAI_CONSTANTS = {"input_resolution", "context_length", "vocab_size"}


class Checkpoint(NamedTuple):
    """`state` holds the arrays by torch's names, with float16 and bfloat16 widened to float32. `openai` marks a
    checkpoint of OpenAI, which was trained with quick_gelu."""

    state: dict[str, np.ndarray]
    openai: bool


def local_path(checkpoint: str) -> Path:
    """The path of the file that `checkpoint` names: a path itself, or ``hf://OWNER/REPOSITORY/FILE``, which is
    downloaded unless it is in the cache. UserError if the download fails."""
    if not checkpoint.startswith("hf://"):
        return Path(checkpoint)
    owner, _, rest = checkpoint.removeprefix("hf://").partition("/")
    repository, _, filename = rest.partition("/")
    if not (owner and repository and filename):
        raise UserError(f"{checkpoint}: expected hf://OWNER/REPOSITORY/FILE")
    hub = require("huggingface_hub")
    require("huggingface_hub.utils.logging").set_verbosity_error()  # otherwise it reports each of its five attempts
    print(f"downloading {checkpoint} (unless it is in the cache)", flush=True)
    try:
        return Path(hub.hf_hub_download(repo_id=f"{owner}/{repository}", filename=filename))
    except Exception as e:  # HTTP, DNS, a missing file, a full disk: the hub's exceptions differ between versions
        raise UserError(
            f"{checkpoint}: the download failed ({_reason(e.__cause__ or e)}); check the connection and the name, "
            "or download the file yourself and give its path"
        ) from e


def read_checkpoint(path: Path) -> Checkpoint:
    """The state dict in `path`: a .pt file (plain, wrapped, prefixed, or OpenAI's archive) or .safetensors.

    UserError, naming `path`, if it is missing, damaged, not a checkpoint, or could run code.
    """
    if path.is_dir():
        raise UserError(f"{path}: this is a directory; --checkpoint takes a .pt file")
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; download it again")
    try:
        content, is_script = _load(path)
    except pickle.UnpicklingError as e:
        if refused := _refused_content(path, e):
            raise UserError(
                f"{path}: refused, because this pickle holds more than tensors ({refused}) and could run code; "
                "save the bare state_dict and convert that"
            ) from e
        raise _damage_error(path, e) from e
    except MemoryError:
        raise
    except Exception as e:  # a damaged file fails in many ways: zip, pickle, a wrong size, a bad key
        raise _damage_error(path, e) from e
    state = _unwrap(content, path)
    arrays = {key: _array(key, value, path) for key, value in state.items()}
    return Checkpoint(arrays, openai=is_script or bool(_OPENAI_CONSTANTS & arrays.keys()))


def _load(path: Path) -> tuple[Any, bool]:
    """The content of the file, and whether it is a TorchScript archive."""
    if path.suffix == ".safetensors":
        return require("safetensors.torch").load_file(path), False
    torch = require("torch")
    if is_torchscript(path):
        return read_torchscript(path), True
    with warnings.catch_warnings(action="ignore"):  # about pickle's protocols; the error that follows is enough
        return torch.load(path, map_location="cpu", weights_only=True), False


def _unwrap(content: Any, path: Path) -> dict[str, Any]:
    """The state dict in the content of a file, without the wrappers around it and the prefixes of its keys."""
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: expected a state dict, found {type(content).__name__}")
    while wrapper := next((w for w in _WRAPPERS if isinstance(content.get(w), Mapping)), None):
        content = content[wrapper]
    state = {str(key): value for key, value in content.items()}
    while prefix := next((p for p in _PREFIXES if state and all(key.startswith(p) for key in state)), None):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _array(key: str, value: Any, path: Path) -> np.ndarray:
    torch = require("torch")
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value.copy())
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized:
        raise UserError(f"{path}: {key} is not a plain tensor but {type(value).__name__}; save the bare state_dict")
    # float16 and bfloat16 are subsets of float32, so widening is exact.
    return (value.float() if value.is_floating_point() else value).detach().numpy()


def _damage_error(path: Path, error: Exception) -> UserError:
    if isinstance(error, UserError):
        return error
    if _first_two_bytes(path) == b"PK":  # a zip file
        return UserError(f"{path}: cut short or damaged ({_reason(error)}); download it again")
    return UserError(f"{path}: not a PyTorch checkpoint, or damaged; download it again")


def _refused_content(path: Path, error: Exception) -> str | None:
    """What a pickle was refused for, extracted from torch's long message; None if the file is not a pickle."""
    if match := re.search(r"Unsupported (?:global:? (?:GLOBAL )?|reference )([\w.]+)", str(error)):
        return match[1]
    return "written by pickle itself" if _first_two_bytes(path)[:1] == pickle.PROTO else None


def _first_two_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2)


def _reason(error: BaseException) -> str:
    """The first sentence of an error message. The rest of it is advice for programmers."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.split(". ")[0].rstrip(".")[:160]
