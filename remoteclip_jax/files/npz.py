"""Reading untrusted npz files: only the requested arrays, with type checks, and without running code from the file.

The sizes that a file claims are checked before memory is allocated.
"""

import math
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from remoteclip_jax.errors import UserError

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_MOST_DEFLATED = 1032  # the largest ratio that deflate can reach


def load_arrays(
    path: Path, keys: tuple[str, ...], optional: tuple[str, ...] = (), hint: str = ""
) -> dict[str, np.ndarray]:
    """The arrays `keys` of an npz file, and those of `optional` that it has. UserError if the file is missing, one of
    `keys` is (the `hint` then says what to do), or an array is broken."""
    try:
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings(action="ignore"):
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            missing = [key for key in keys if key not in names]
            if missing:
                raise UserError(f"{path} lacks {', '.join(missing)}; it has {', '.join(names) or 'nothing'}{hint}")
            return {key: _read(archive, f"{key}.npy") for key in (*keys, *optional) if key in names}
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as e:  # zipfile, zlib and NumPy raise many kinds for a damaged file
        if isinstance(e, MemoryError):
            raise
        reason = (str(e) or type(e).__name__).splitlines()[0][:200]
        raise UserError(f"{path} is not a readable npz file: {reason}") from None


def _read(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One array. ValueError if its header claims another size than the archive has."""
    info = archive.getinfo(name)
    if info.file_size > _MOST_DEFLATED * info.compress_size + 1:
        raise ValueError(f"{name} cannot be as long as the archive says")
    with archive.open(name) as file:
        _check_header(file, info.file_size, name)
    with archive.open(name) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        file.read()  # to the end, so that zipfile verifies the checksum
    return array


def _check_header(file: Any, size: int, name: str) -> None:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"{name} is of version {version} of NumPy's format")
    shape, _, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which could run code; save it as plain text or numbers")
    if file.tell() + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{name} is cut short, or its header is wrong")


def as_strings(array: np.ndarray, what: str) -> tuple[str, ...]:
    """The strings in `array` [K], which may be UTF-8 bytes. UserError, with `what` they are, for anything else."""
    if array.ndim != 1 or array.dtype.kind not in "US":
        raise UserError(f"{what} are not a list of strings but of type {array.dtype} and shape {list(array.shape)}")
    try:
        texts = [x.decode() if isinstance(x, bytes) else x for x in array.tolist()]
        for text in texts:
            text.encode()
    except ValueError:  # includes UnicodeError
        raise UserError(f"{what} are not text in UTF-8") from None
    return tuple(texts)


def as_finite_float32(array: np.ndarray, what: str) -> np.ndarray:
    """`array` in float32. UserError, with `what` it is, unless it holds finite real numbers."""
    if array.dtype.kind not in "fiu":
        raise UserError(f"{what} are not numbers but of type {array.dtype}")
    with np.errstate(all="ignore"):
        values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise UserError(f"{what} are not all finite")
    return values
