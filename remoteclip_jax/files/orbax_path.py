"""The one place where a directory is given to Orbax."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from remoteclip_jax.errors import UserError


class _LiteralPath(type(epath.Path("/"))):  # type: ignore[misc]  # etils has no public name for a path on this machine
    """A path whose own characters stand for themselves. Orbax looks for its files by `path.glob("…*")`, which etils
    answers by a pattern of the whole path: below a directory called `a[1]` it finds nothing."""

    def glob(self, pattern: str) -> "Iterator[_LiteralPath]":
        return (type(self)(found) for found in glob.glob(os.path.join(glob.escape(str(self)), pattern)))


def orbax_path(directory: Path) -> epath.Path:
    """`directory`, made absolute (links stay as they are), for Orbax to write to and to read from.

    UserError where Orbax and TensorStore cannot go by this name.
    """
    path = os.path.abspath(directory)
    problem = None
    if any(part.endswith(":") for part in Path(path).parts):
        problem = "ends in a colon"  # it is taken for the scheme of an address, as in gs://bucket
    elif "\\" in path:
        problem = "has a backslash"  # TensorStore makes it a slash
    elif not _is_text(path):
        problem = "is no UTF-8"
    if problem:
        raise UserError(f"{path}: weights cannot be kept below a name that {problem}; choose another one")
    return _LiteralPath(path)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:  # bytes that Python keeps as halves of surrogate pairs
        return False
    return True
