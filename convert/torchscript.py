"""Reading the tensors of a TorchScript archive (OpenAI's RN50.pt) without running code in it.

`torch.jit.load` would execute the archive's own `__setstate__` methods, and TorchScript can write files. The archive is
a zip file with a pickle of the module tree (`data.pkl`) and the raw storages (`data/0`, `data/1`, …). Here the pickle
may name only TorchScript's classes, which become plain containers, and the function that rebuilds a tensor.
"""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

_STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


class _Module:
    """A stand-in for any class of the archive. It only stores attributes."""

    def __init__(self, *_: Any) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.attributes = state if isinstance(state, dict) else {}


def is_torchscript(path: Path) -> bool:
    """Whether `path` is a TorchScript archive. A plain checkpoint has no `constants.pkl`."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.count("/") == 1 and name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, np.ndarray]:
    """All tensors of the archive's module, by dotted names.

    pickle.UnpicklingError if the pickle names anything that is not allowed. KeyError, ValueError or an error of zipfile
    if the archive is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        root = next(n for n in archive.namelist() if n.endswith("/constants.pkl")).split("/")[0]
        with archive.open(f"{root}/data.pkl") as file:
            module = _Unpickler(file, archive, root).load()
    tensors: dict[str, np.ndarray] = {}
    _collect(module, "", tensors)
    return tensors


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(file)
        self._archive, self._root = archive, root
        self._storages: dict[str, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _STORAGES:
            return np.dtype(_STORAGES[name])
        if module == "torch.jit._pickle" and name.startswith("build_"):  # typed lists
            return list
        raise pickle.UnpicklingError(f"Unsupported global {module}.{name}")

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, dtype, key, _device, count = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"Unsupported reference {kind}")
        if key not in self._storages:
            content = self._archive.read(f"{self._root}/data/{key}")
            self._storages[key] = np.frombuffer(content, dtype, count)
        return self._storages[key]


def _rebuild_tensor(storage: np.ndarray, offset: int, size: tuple, stride: tuple, *_: Any) -> np.ndarray:
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min(size, default=1) > 0 and not (0 <= offset <= last < len(storage) and min(stride, default=0) >= 0):
        raise ValueError("a tensor reaches beyond its storage")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)


def _collect(module: Any, prefix: str, tensors: dict[str, np.ndarray]) -> None:
    """Add the tensors of `module`, named with `prefix`, to `tensors`."""
    if isinstance(module, _Module):
        for name, value in module.attributes.items():
            _collect(value, f"{prefix}.{name}" if prefix else name, tensors)
    elif isinstance(module, np.ndarray):
        tensors[prefix] = module
